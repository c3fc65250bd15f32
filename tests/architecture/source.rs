//! What a source file names, found in its tokens.
//!
//! The checker asks only "which names stand in this file, and on which line", so it reads tokens and
//! not a syntax tree: comments are gone, strings are literals, macro bodies are read like any other
//! code, and no new syntax of the language can break it. Code behind `#[cfg(test)]` is left out: what
//! a unit test borrows is not in the product.
//!
//! What tokens cannot show: a type that travels through a function's result without being named.
//! That is not an arrow in the sense of the design either; the compiler's privacy rules hold there.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A name or path as the file means it: `crate::…` paths are absolute, whatever `self`, `super` or
/// group they were written with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Segments, such as `["crate", "app", "State"]`; a glob import ends in `*`.
    pub path: Vec<String>,
    /// Line in the file, from 1.
    pub line: usize,
    /// Stood in a `use` declaration.
    pub imported: bool,
}

/// A literal string with its line.
#[derive(Clone, Debug)]
pub struct Text {
    /// As written, quotes included.
    pub literal: String,
    /// Line in the file, from 1.
    pub line: usize,
}

/// One file under `src/`, read.
#[derive(Debug, Default)]
pub struct Source {
    /// Relative to `src/`, with `/`: `netfilter/counters/nft.rs`.
    pub file: String,
    /// Where it hangs in the crate: `["netfilter", "counters", "nft"]`; empty for `lib.rs`.
    pub module: Vec<String>,
    /// Every name outside test code, in the order of the file.
    pub names: Vec<Name>,
    /// Methods called without an argument: `.elapsed()`.
    pub bare_calls: Vec<(String, usize)>,
    /// The first word of every attribute: `path` for `#[path = "…"]`.
    pub attributes: Vec<(String, usize)>,
    /// Every literal outside test code and doc comments.
    pub texts: Vec<Text>,
    /// Modules declared behind `#[cfg(test)]`, as absolute module paths: their files are test code.
    pub test_modules: Vec<Vec<String>>,
    /// Lines of the file, test code not counted.
    pub lines: usize,
    /// Opens with `//!`.
    pub has_essay: bool,
}

impl Source {
    /// Reads `text` as the file `file` (relative to `src/`). `Err` says why it is not Rust.
    pub fn read(file: &str, text: &str) -> Result<Self, String> {
        let tokens: TokenStream = text
            .parse()
            .map_err(|error| format!("{file}: not Rust: {error}"))?;
        let mut source = Self {
            file: file.to_owned(),
            module: module_of(file),
            has_essay: text.starts_with("//!"),
            lines: text.lines().count(),
            ..Self::default()
        };
        let module = source.module.clone();
        source.walk(tokens, &module);
        Ok(source)
    }

    /// The room that the file belongs to: its first folder, `main`, or `lib`.
    pub fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    fn walk(&mut self, tokens: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at = match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    self.attribute(&tokens, at, module)
                }
                TokenTree::Ident(word) if word == "use" => self.import(&tokens, at, module),
                TokenTree::Ident(word) if word == "mod" => self.inline_module(&tokens, at, module),
                TokenTree::Ident(_) => self.path(&tokens, at, module),
                TokenTree::Group(group) => {
                    self.walk(group.stream(), module);
                    at + 1
                }
                TokenTree::Literal(literal) => {
                    self.texts.push(Text {
                        literal: literal.to_string(),
                        line: literal.span().start().line,
                    });
                    at + 1
                }
                TokenTree::Punct(_) => at + 1,
            };
        }
    }

    /// `#[…]` and `#![…]` at `at`. Doc comments are dropped; a `cfg(test)` drops what follows.
    fn attribute(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let bang = usize::from(
            matches!(tokens.get(at + 1), Some(TokenTree::Punct(p)) if p.as_char() == '!'),
        );
        let Some(TokenTree::Group(group)) = tokens.get(at + 1 + bang) else {
            return at + 1;
        };
        let next = at + 2 + bang;
        let Some(TokenTree::Ident(first)) = group.stream().into_iter().next() else {
            return next;
        };
        if first == "doc" {
            return next;
        }
        if first == "cfg" && is_test_only(group) {
            // `#![cfg(test)]` speaks for everything that follows, `#[cfg(test)]` for one item.
            let end = if bang == 1 {
                tokens.len()
            } else {
                end_of_item(tokens, next)
            };
            self.note_test_module(&tokens[next..end], module);
            let from = group.span_open().start().line;
            let to = tokens[end - 1].span().end().line;
            self.lines = self.lines.saturating_sub(to + 1 - from);
            return end;
        }
        self.attributes
            .push((first.to_string(), first.span().start().line));
        self.walk(group.stream(), module);
        next
    }

    /// `mod name;` behind `cfg(test)`: the file it names is test code as a whole.
    fn note_test_module(&mut self, item: &[TokenTree], module: &[String]) {
        let names: Vec<String> = item.iter().map(ToString::to_string).collect();
        if let [.., keyword, name, semicolon] = names.as_slice()
            && keyword == "mod"
            && semicolon == ";"
        {
            self.test_modules.push(child(module, name));
        }
    }

    fn inline_module(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        match (tokens.get(at + 1), tokens.get(at + 2)) {
            (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) => {
                self.walk(body.stream(), &child(module, &name.to_string()));
                at + 3
            }
            _ => at + 2,
        }
    }

    /// `use …;` at `at`, its groups multiplied out.
    fn import(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let end = (at..tokens.len())
            .find(|&i| is_punct(tokens.get(i), ';'))
            .unwrap_or(tokens.len());
        // `impl Trait + use<'a>`: not an import; read what follows as ordinary tokens.
        if is_punct(tokens.get(at + 1), '<') {
            return at + 1;
        }
        self.import_tree(&tokens[at + 1..end], &[], module);
        end + 1
    }

    fn import_tree(&mut self, tokens: &[TokenTree], prefix: &[String], module: &[String]) {
        for branch in tokens.split(|token| is_punct(Some(token), ',')) {
            let mut path = prefix.to_vec();
            let mut line = 0;
            let mut grouped = false;
            for token in branch {
                line = token.span().start().line;
                match token {
                    TokenTree::Ident(word) if word == "as" => break,
                    TokenTree::Ident(word) if word == "self" && !path.is_empty() => {}
                    TokenTree::Ident(word) => path.push(word.to_string()),
                    TokenTree::Punct(punct) if punct.as_char() == '*' => path.push("*".to_owned()),
                    TokenTree::Group(group) => {
                        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                        self.import_tree(&inner, &path, module);
                        grouped = true;
                    }
                    _ => {}
                }
            }
            if !grouped && !branch.is_empty() {
                self.names.push(Name {
                    path: self.absolute(path, module),
                    line,
                    imported: true,
                });
            }
        }
    }

    /// `a::b::c` at `at`, or a single word.
    fn path(&mut self, tokens: &[TokenTree], at: usize, module: &[String]) -> usize {
        let mut path = Vec::new();
        let mut next = at;
        let line = tokens[at].span().start().line;
        while let Some(TokenTree::Ident(word)) = tokens.get(next) {
            path.push(word.to_string());
            next += 1;
            let joined = is_punct(tokens.get(next), ':')
                && is_punct(tokens.get(next + 1), ':')
                && matches!(tokens.get(next + 2), Some(TokenTree::Ident(_)));
            if !joined {
                break;
            }
            next += 2;
        }
        if at > 0 && is_punct(tokens.get(at - 1), '.') && is_empty_call(tokens.get(next)) {
            self.bare_calls.push((path.join("::"), line));
        }
        self.names.push(Name {
            path: self.absolute(path, module),
            line,
            imported: false,
        });
        next
    }

    /// `self::x`, `super::x`, `ruletop::x` as `crate::…`. The binary's own root is `crate::main`.
    fn absolute(&self, path: Vec<String>, module: &[String]) -> Vec<String> {
        let rooted = |base: &[String], rest: &[String]| -> Vec<String> {
            let root = std::iter::once("crate".to_owned());
            root.chain(base.iter().cloned())
                .chain(rest.iter().cloned())
                .collect()
        };
        match path.first().map(String::as_str) {
            Some("ruletop") => rooted(&[], &path[1..]),
            Some("crate") if self.file == "main.rs" => rooted(&self.module, &path[1..]),
            Some("self") if path.len() > 1 => rooted(module, &path[1..]),
            Some("super") => {
                let ups = path.iter().take_while(|word| *word == "super").count();
                let base = &module[..module.len().saturating_sub(ups)];
                rooted(base, &path[ups..])
            }
            _ => path,
        }
    }
}

/// `netfilter/counters/nft.rs` hangs at `netfilter::counters::nft`; `mod.rs` at its folder.
fn module_of(file: &str) -> Vec<String> {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" {
        return Vec::new();
    }
    stem.split('/').map(str::to_owned).collect()
}

fn child(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_empty_call(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Group(group))
        if group.delimiter() == Delimiter::Parenthesis && group.stream().is_empty())
}

/// `cfg(test)` or `cfg(all(test, …))`: compiled for tests and for nothing else.
fn is_test_only(attribute: &Group) -> bool {
    fn holds(condition: &TokenStream) -> bool {
        let tokens: Vec<TokenTree> = condition.clone().into_iter().collect();
        match tokens.as_slice() {
            [TokenTree::Ident(word)] => word == "test",
            [TokenTree::Ident(all), TokenTree::Group(inner)] if all == "all" => inner
                .stream()
                .into_iter()
                .collect::<Vec<_>>()
                .split(|token| is_punct(Some(token), ','))
                .any(|part| holds(&part.iter().cloned().collect())),
            _ => false,
        }
    }
    attribute
        .stream()
        .into_iter()
        .any(|token| matches!(token, TokenTree::Group(condition) if holds(&condition.stream())))
}

/// The index after the item that starts at `at`: past its body, its `;`, or (a field, a match arm)
/// its `,`.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let mut next = at;
    while is_punct(tokens.get(next), '#') {
        next += 2;
    }
    let mut angles = 0_i32;
    while let Some(token) = tokens.get(next) {
        next += 1;
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                // `use a::{b};` and `let x = S { };` go on to their semicolon.
                return next + usize::from(is_punct(tokens.get(next), ';'));
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                ';' => return next,
                ',' if angles <= 0 => return next,
                '<' => angles += 1,
                '>' if !is_arrow(tokens, next - 1) => angles -= 1,
                _ => {}
            },
            _ => {}
        }
    }
    next.max(at + 1).min(tokens.len())
}

/// The `>` of `->` or `=>`.
fn is_arrow(tokens: &[TokenTree], at: usize) -> bool {
    at > 0 && (is_punct(tokens.get(at - 1), '-') || is_punct(tokens.get(at - 1), '='))
}
