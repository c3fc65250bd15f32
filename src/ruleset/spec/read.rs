//! Words to a [`Spec`]: which option belongs to which extension, and what is left over.

use std::borrow::Cow;

use super::super::Family;
use super::Spec;
use super::extension::Extension;
use super::general::{GENERAL, General, counters};
use super::layout::{Layout, Recording};
use super::lexer::{Lexer, Word};
use super::matches;
use super::options::{Given, GivenOption, Misread, Opt};
use super::targets::{self, Target};
use super::value::{Addresses, Interface, Protocol, split_once};

/// Read a specification.
pub(super) fn read<'a>(
    text: &'a [u8],
    family: Family,
    is_chain: &dyn Fn(&[u8]) -> bool,
) -> Spec<'a> {
    run(text, family, is_chain, Recording::default()).0
}

/// The same, with the places of its parts.
pub(super) fn read_with_layout<'a>(
    text: &'a [u8],
    family: Family,
    is_chain: &dyn Fn(&[u8]) -> bool,
) -> (Spec<'a>, Layout<'a>) {
    let (spec, recording) = run(text, family, is_chain, Recording::start());
    (spec, recording.into_layout())
}

fn run<'a>(
    text: &'a [u8],
    family: Family,
    is_chain: &dyn Fn(&[u8]) -> bool,
    layout: Recording<'a>,
) -> (Spec<'a>, Recording<'a>) {
    let mut reader = Reader {
        lexer: Lexer::new(text),
        is_chain,
        spec: Spec {
            family,
            source: None,
            destination: None,
            in_interface: None,
            out_interface: None,
            protocol: None,
            fragment: None,
            only_family: None,
            matches: Vec::new(),
            target: None,
            goto: false,
            counters: counters(text),
            stray: Vec::new(),
        },
        loaded: Vec::new(),
        open: None,
        not: None,
        layout,
    };
    while let Some(word) = reader.lexer.next() {
        reader.word(word);
    }
    if let Some(not) = reader.not.take() {
        reader.loose(not);
    }
    reader.finish()
}

/// An option that was found: of a loaded extension, or a general one.
#[derive(Clone, Copy)]
enum Found {
    Of(usize, &'static Opt),
    General(&'static Opt, General),
}

impl Found {
    fn opt(self) -> &'static Opt {
        match self {
            Self::Of(_, opt) | Self::General(opt, _) => opt,
        }
    }
}

struct Reader<'a, 'c> {
    lexer: Lexer<'a>,
    is_chain: &'c dyn Fn(&[u8]) -> bool,
    spec: Spec<'a>,
    loaded: Vec<(Extension, Given<'a>)>,
    /// The extension that takes words which belong to no known option: one that is not known, or one
    /// that was just given an option it does not have.
    open: Option<usize>,
    /// A `!` that waits for its option.
    not: Option<Word<'a>>,
    /// Where the parts stand, if somebody asked.
    layout: Recording<'a>,
}

impl<'a> Reader<'a, '_> {
    fn word(&mut self, word: Word<'a>) {
        if word.is(b"!") {
            if let Some(before) = self.not.replace(word) {
                self.loose(before);
            }
        } else if word.quoted || word.raw.len() < 2 || word.raw.first() != Some(&b'-') {
            if let Some(not) = self.not.take() {
                self.loose(not);
            }
            self.loose(word);
        } else if word.raw.starts_with(b"--") {
            self.long(word);
        } else {
            self.short(word);
        }
    }

    /// A word that is no option and no value of one.
    fn loose(&mut self, word: Word<'a>) {
        let stray = self.open.is_none();
        self.layout
            .record(self.open, "", false, std::slice::from_ref(&word), &[]);
        self.layout.settle(!stray, usize::MAX);
        match self.open.and_then(|open| self.loaded.get_mut(open)) {
            Some((_, given)) => given.words.push(word),
            None => self.spec.stray.push(word),
        }
    }

    fn long(&mut self, word: Word<'a>) {
        let name_length = memchr::memchr(b'=', &word.text).unwrap_or(word.text.len());
        let attached = (name_length < word.text.len()).then(|| tail(&word.text, name_length + 1));
        let name = word.text.get(2..name_length).unwrap_or_default().to_vec();
        match self.find(&name) {
            Some(found) => self.take(found, word, attached),
            None => self.unknown_option(word),
        }
    }

    fn short(&mut self, word: Word<'a>) {
        let letter = word.text.get(1).copied().unwrap_or_default();
        let row = GENERAL.iter().find(|row| row.0.short == letter);
        let attached = (word.text.len() > 2).then(|| tail(&word.text, 2));
        match row {
            Some((opt, general)) if opt.values > 0 || attached.is_none() => {
                self.take(Found::General(opt, *general), word, attached);
            }
            _ => self.unknown_option(word),
        }
    }

    fn find(&mut self, name: &[u8]) -> Option<Found> {
        let general = GENERAL
            .iter()
            .find(|row| row.0.is(name))
            .map(|row| Found::General(&row.0, row.1));
        let open = self.open.and_then(|open| self.loaded.get(open));
        if open.is_some_and(|(extension, _)| extension.is_unknown()) {
            // What is not known may have any option; only the general ones end it.
            return general;
        }
        self.of_loaded(|opt| opt.is(name))
            .or(general)
            .or_else(|| self.abbreviated(name))
            .or_else(|| {
                self.load_implied()
                    .then(|| {
                        self.of_loaded(|opt| opt.is(name))
                            .or_else(|| self.abbreviated(name))
                    })
                    .flatten()
            })
    }

    fn of_loaded(&self, wanted: impl Fn(&Opt) -> bool) -> Option<Found> {
        let newest_first = self.loaded.iter().enumerate().rev();
        newest_first
            .flat_map(|(index, (extension, _))| {
                extension.options().iter().map(move |opt| (index, opt))
            })
            .find(|(_, opt)| wanted(opt))
            .map(|(index, opt)| Found::Of(index, opt))
    }

    /// getopt_long(3) takes any start of a name that only one option has.
    fn abbreviated(&self, name: &[u8]) -> Option<Found> {
        if name.is_empty() {
            return None;
        }
        let first = self.of_loaded(|opt| opt.starts_with(name));
        let mut general = GENERAL.iter().filter(|row| row.0.starts_with(name));
        match first {
            Some(found) => {
                let other =
                    self.of_loaded(|opt| opt.starts_with(name) && opt.name() != found.opt().name());
                (other.is_none() && general.next().is_none()).then_some(found)
            }
            None => match (general.next(), general.next()) {
                (Some((opt, general)), None) => Some(Found::General(opt, *general)),
                _ => None,
            },
        }
    }

    /// Load the match of the protocol, as iptables does when it meets an option that nothing else has.
    fn load_implied(&mut self) -> bool {
        let protocol = self.spec.protocol.as_ref().filter(|p| !p.invert);
        let Some(name) = protocol.and_then(|p| matches::implied(p.value.number?)) else {
            return false;
        };
        if self
            .loaded
            .iter()
            .any(|(_, given)| *given.name == *name.as_bytes())
        {
            return false;
        }
        self.load_match(Cow::Borrowed(name.as_bytes()));
        self.open = None;
        true
    }

    fn load_match(&mut self, name: Cow<'a, [u8]>) {
        let extension = matches::find(&name).map_or(Extension::UnknownMatch, Extension::Match);
        self.load(extension, name);
    }

    fn load(&mut self, extension: Extension, name: Cow<'a, [u8]>) {
        self.layout.load(
            || name.clone(),
            extension.is_target(),
            !extension.is_unknown(),
        );
        self.open = extension.is_unknown().then_some(self.loaded.len());
        let given = Given::new(name, self.spec.family);
        self.loaded.push((extension, given));
    }

    fn unknown_option(&mut self, word: Word<'a>) {
        let not = self.not.take();
        if self.open.is_none() && !self.loaded.is_empty() {
            self.open = Some(self.loaded.len() - 1);
        }
        if let Some((extension, given)) = self.open.and_then(|open| self.loaded.get_mut(open))
            && !extension.is_unknown()
        {
            given.misread.get_or_insert(Misread {
                option: "",
                expected: "only options that it is known to have",
            });
        }
        if let Some(not) = not {
            self.loose(not);
        }
        self.loose(word);
    }

    /// Take the values of an option from the words that follow.
    fn take(&mut self, found: Found, word: Word<'a>, attached: Option<Cow<'a, [u8]>>) {
        let opt = found.opt();
        let mut words: Vec<Word<'a>> = self.not.take().into_iter().collect();
        let mut invert = !words.is_empty();
        words.push(word);
        let mut values: [Cow<'a, [u8]>; 2] = [Cow::Borrowed(b""), Cow::Borrowed(b"")];
        let mut missing = false;
        let mut attached = attached.filter(|_| opt.values > 0);
        for value in values.iter_mut().take(opt.values.into()) {
            if let Some(attached) = attached.take() {
                *value = attached;
                continue;
            }
            let mut next = self.next_value(opt);
            if !invert && next.as_ref().is_some_and(|next| next.is(b"!")) {
                invert = true;
                words.extend(next.take());
                next = self.next_value(opt);
            }
            match next {
                Some(next) => {
                    value.clone_from(&next.text);
                    words.push(next);
                }
                None => missing = true,
            }
            // `-c packets,bytes` is one word.
            if matches!(found, Found::General(_, General::Counters)) && value.contains(&b',') {
                break;
            }
        }
        let option = GivenOption {
            name: opt.name(),
            invert,
            values,
        };
        let of = match found {
            Found::Of(index, _) => Some(index),
            Found::General(..) => None,
        };
        let given = if missing { 0 } else { opt.values.into() };
        let values = option.values.get(..given).unwrap_or_default();
        self.layout
            .record(of, option.name, option.invert, &words, values);
        match found {
            Found::Of(index, _) => {
                self.open = None;
                let Some((_, given)) = self.loaded.get_mut(index) else {
                    return;
                };
                if missing {
                    given.misread.get_or_insert(option.misread(Misread::VALUE));
                }
                given.words.extend(words);
                given.add(option);
            }
            Found::General(_, _) if missing => {
                self.open = None;
                self.layout.settle(false, usize::MAX);
                self.spec.stray.extend(words);
            }
            Found::General(_, general) => {
                self.open = None;
                let held = self.loaded.len();
                let taken = self.general(general, &option);
                self.layout.settle(taken, held);
                if !taken {
                    self.spec.stray.extend(words);
                }
            }
        }
    }

    fn next_value(&mut self, opt: &Opt) -> Option<Word<'a>> {
        if opt.unquoted {
            self.lexer.name()
        } else {
            self.lexer.next()
        }
    }

    /// Set what a general option says; false if it cannot be: given twice, or inverted where that is
    /// refused.
    fn general(&mut self, general: General, option: &GivenOption<'a>) -> bool {
        let family = self.spec.family;
        let value = option.value();
        match general {
            General::Source => set(
                &mut self.spec.source,
                option.inv(Addresses::read(value, family)),
            ),
            General::Destination => set(
                &mut self.spec.destination,
                option.inv(Addresses::read(value, family)),
            ),
            General::In => {
                let text = value.clone();
                set(&mut self.spec.in_interface, option.inv(Interface { text }))
            }
            General::Out => {
                let text = value.clone();
                set(&mut self.spec.out_interface, option.inv(Interface { text }))
            }
            General::Protocol => set(
                &mut self.spec.protocol,
                option.inv(Protocol::read(value.clone())),
            ),
            General::Fragment => set(&mut self.spec.fragment, option.inv(())),
            General::Ipv4 if !option.invert => set(&mut self.spec.only_family, Family::V4),
            General::Ipv6 if !option.invert => set(&mut self.spec.only_family, Family::V6),
            General::Match if !option.invert => {
                self.load_match(value.clone());
                true
            }
            General::Jump | General::Goto if !option.invert => {
                self.target(value.clone(), general == General::Goto)
            }
            General::Counters => is_counters(option),
            General::Idle => true,
            _ => false,
        }
    }

    fn target(&mut self, name: Cow<'a, [u8]>, goto: bool) -> bool {
        let given = self
            .loaded
            .iter()
            .any(|(extension, _)| extension.is_target());
        if given || self.spec.target.is_some() {
            return false;
        }
        self.spec.goto = goto;
        let standard = if goto { None } else { targets::standard(&name) };
        if let Some(target) = standard {
            self.spec.target = Some(target);
        } else if (self.is_chain)(&name) {
            self.spec.target = Some(Target::Chain(name));
        } else {
            let extension = targets::find(&name)
                .filter(|_| !goto)
                .map_or(Extension::UnknownTarget, Extension::Target);
            self.load(extension, name);
        }
        true
    }

    fn finish(mut self) -> (Spec<'a>, Recording<'a>) {
        for (extension, given) in self.loaded {
            extension.finish(given, &mut self.spec);
        }
        (self.spec, self.layout)
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> bool {
    let free = place.is_none();
    if free {
        *place = Some(value);
    }
    free
}

/// The values were read with the whole text already; this only tells whether they are counters.
fn is_counters(option: &GivenOption<'_>) -> bool {
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    match split_once(option.value(), b',') {
        Some((packets, bytes)) => number(packets) && number(bytes),
        None => number(option.value()) && number(option.second()),
    }
}

/// The rest of a text from an offset on, borrowed where it was.
fn tail<'a>(text: &Cow<'a, [u8]>, from: usize) -> Cow<'a, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(from..).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(from..).unwrap_or_default().to_vec()),
    }
}
