//! Everything that the screen shows, and nothing else. Changed by `update`, read by `ui`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::app::action::{Key, Keymap, Place as KeyPlace};
use crate::app::attribution::{Attribution, attribute};
use crate::app::board::{Board, Pane, Row};
use crate::app::change::{Change, Review};
use crate::app::connections::Connections;
use crate::app::drops::DropPane;
use crate::app::editor::Editor;
use crate::app::feed::{Feed, Limits};
use crate::app::firewall::{Firewall, FirewallId};
use crate::app::gauge::Gauge;
use crate::app::history::History;
use crate::app::keep::Keep;
use crate::app::message::Viewport;
use crate::app::notice::Notices;
use crate::app::silence::SilenceWatch;
use crate::app::templates::Templates;
use crate::app::why::Why;
use crate::edit::Shelf;
use crate::edit::form::complete::Names;
use crate::flow::KernelLine;
use crate::ruleset::{Backend, BaseChain, ChainIdx, Family, Origin};

/// Where the numbers come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The kernel of this machine.
    #[default]
    Live,
    /// A private namespace with a scenario of that name; the text says what is wrong in it.
    Demo {
        /// Its name.
        name: String,
        /// One line of what one sees.
        symptom: String,
        /// Its rules write to the kernel's log, rather than to NFLOG.
        logs: bool,
    },
    /// A saved dump.
    File(String),
}

/// What the header says of the box.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// Where the numbers come from.
    pub mode: Mode,
    /// The wall clock when the program's own clock stood at zero.
    pub epoch: Option<jiff::Zoned>,
}

/// What a line is typed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// The filter of the focused pane, which follows as one types.
    #[default]
    Filter,
    /// Where a rule is to be moved: a number, or a chain and a number.
    MoveTo,
    /// The name of a new chain.
    AddChain,
    /// The new name of a chain.
    RenameChain,
    /// The word to apply a change though it might lock the administrator out.
    GoOn,
}

/// A line being typed.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// What for.
    pub purpose: Purpose,
    /// What was typed so far.
    pub text: String,
    /// What stood there before, for leaving it as it was.
    pub before: String,
}

/// What lies open over the board.
#[derive(Clone, Debug)]
pub enum Dialog {
    /// Keys and actions, searchable; the chosen one is run.
    Help(Picker),
    /// Chains by name; the chosen one is opened.
    Chains(Picker),
    /// Connections that are tracked; the chosen one is explained.
    Connections(Box<Connections>),
    /// What is missing, and why; scrolled by so many lines.
    Notices(usize),
    /// The conntrack table in full; scrolled by so many lines.
    Conntrack(usize),
    /// The selected rule in full; scrolled by so many lines.
    Detail(usize),
    /// What is staged, before it is applied.
    Review(Box<Review>),
    /// The applied change that waits for its answer; scrolled by so many lines.
    Pending(usize),
    /// The rules of now, about to be saved for the next boot.
    Keep(Box<Keep>),
    /// What was changed so far.
    History(Box<History>),
    /// A rule being written.
    Editor(Box<Editor>),
    /// Rules from a template.
    Templates(Box<Templates>),
    /// The explain screen.
    Why(Box<Why>),
}

/// A list that narrows as one types.
#[derive(Clone, Debug, Default)]
pub struct Picker {
    /// What was typed.
    pub query: String,
    /// The chosen line.
    pub at: usize,
}

/// The whole state.
#[derive(Debug)]
pub struct State {
    /// Time since the program started, as of the last message.
    pub now: Duration,
    /// When the state was last woken by the clock.
    pub woken: Duration,
    /// Time between readings.
    pub interval: Duration,
    /// What the header says of the box.
    pub facts: Facts,
    /// The table of keys.
    pub keymap: Keymap,
    /// The rulesets, v4 before v6, nft before legacy.
    pub firewalls: Vec<Firewall>,
    /// Base chains that iptables cannot show.
    pub native: Vec<BaseChain>,
    /// Where the user is.
    pub board: Board,
    /// Rows of each pane.
    pub viewport: Viewport,
    /// The conntrack table.
    pub gauge: Gauge,
    /// The drop feed.
    pub feed: Feed,
    /// What its pane shows of it.
    pub drops: DropPane,
    /// Where the feed reads from.
    pub source: String,
    /// Rules that log against lines that come.
    pub silence: SilenceWatch,
    /// What is missing, and why.
    pub notices: Notices,
    /// What lies open over the board.
    pub dialog: Option<Dialog>,
    /// The filter being typed for the focused pane.
    pub input: Option<Input>,
    /// Changes on their way.
    pub change: Change,
    /// Rules that are disabled, as the machine keeps them.
    pub shelf: Shelf,
    /// No readings are taken.
    pub frozen: bool,
    /// The view counts from this moment.
    pub zeroed: Option<Duration>,
    /// Rates in bits instead of packets.
    pub bits: bool,
    /// A short word, and until when it stands.
    pub said: Option<(String, Duration)>,
    /// Some ruleset was read, or was found to hold nothing.
    pub answered: bool,
    /// Structures still being read for the first time.
    pub loading: Vec<(FirewallId, &'static str)>,
    /// Something visible changed since the last frame.
    pub dirty: bool,
    /// The cursor was put once on what drops the most.
    pub aimed: bool,
    /// Names that a rule can hold, as they were read last.
    pub names: Arc<Names>,
    /// Number of the last question about a packet.
    pub questions: u64,
    /// Rulesets that were read, or found to hold nothing, at least once.
    pub heard: BTreeSet<FirewallId>,
}

/// How long a word stands on the message line.
pub const SAID_FOR: Duration = Duration::from_secs(4);

/// What the cursor of the rules is on.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// Index of the firewall.
    pub firewall: usize,
    /// The chain.
    pub chain: ChainIdx,
    /// The row; `None` in an empty chain.
    pub row: Option<Row>,
}

impl State {
    /// A board that has seen nothing yet.
    pub fn new(facts: Facts, keymap: Keymap, interval: Duration) -> Self {
        Self {
            now: Duration::ZERO,
            woken: Duration::ZERO,
            interval,
            facts,
            keymap,
            firewalls: Vec::new(),
            native: Vec::new(),
            board: Board::default(),
            viewport: Viewport::default(),
            gauge: Gauge::default(),
            feed: Feed::new(Limits::default()),
            drops: DropPane::default(),
            source: String::new(),
            silence: SilenceWatch::default(),
            notices: Notices::default(),
            dialog: None,
            input: None,
            change: Change::default(),
            shelf: Shelf::default(),
            frozen: false,
            zeroed: None,
            bits: false,
            said: None,
            answered: false,
            loading: Vec::new(),
            dirty: true,
            aimed: false,
            names: Arc::default(),
            questions: 0,
            heard: BTreeSet::new(),
        }
    }

    /// The kernel is being watched, rather than a file.
    pub fn is_live(&self) -> bool {
        !matches!(self.facts.mode, Mode::File(_))
    }

    /// All that decides about packets of this family was read, so that a verdict may be given.
    pub fn rules_are_known(&self, family: Family) -> bool {
        let heard = |backend| self.heard.contains(&Origin::new(family, backend).into());
        !self.is_live() || [Backend::Nft, Backend::Legacy].into_iter().all(heard)
    }

    /// The firewall whose chain is in view.
    pub fn firewall(&self) -> Option<&Firewall> {
        self.firewalls.get(self.board.place?.firewall)
    }

    /// What the cursor of the rules is on.
    pub fn selected(&self) -> Option<Selected> {
        let place = self.board.place?;
        let firewall = self.firewalls.get(place.firewall)?;
        let row = self.board.row(self.board.rules.at, firewall);
        Some(Selected {
            firewall: place.firewall,
            chain: place.chain,
            row,
        })
    }

    /// Where the next key counts.
    pub fn key_place(&self) -> KeyPlace {
        match (&self.dialog, &self.input, self.board.pane) {
            // A line over a dialog comes first; the lists and the question have lines of their own.
            (_, Some(_), _)
            | (Some(Dialog::Help(_) | Dialog::Chains(_) | Dialog::Connections(_)), ..) => {
                KeyPlace::Input
            }
            (Some(Dialog::Why(why)), ..) if why.line.is_some() => KeyPlace::Input,
            (Some(Dialog::Review(_)), ..) => KeyPlace::Review,
            (Some(Dialog::Pending(_)), ..) => KeyPlace::Pending,
            (Some(Dialog::Keep(_)), ..) => KeyPlace::Keep,
            (Some(Dialog::History(_)), ..) => KeyPlace::History,
            (Some(Dialog::Editor(_) | Dialog::Templates(_)), ..) => KeyPlace::Editor,
            (Some(Dialog::Why(_)), ..) => KeyPlace::Why,
            (Some(_), ..) => KeyPlace::Dialog,
            (None, None, Pane::Chains) => KeyPlace::Chains,
            (None, None, Pane::Rules) => KeyPlace::Rules,
            (None, None, Pane::Drops) => KeyPlace::Drops,
        }
    }

    /// How many changes are staged, over all rulesets.
    pub fn staged(&self) -> usize {
        self.firewalls.iter().map(Firewall::staged).sum()
    }

    /// How many are staged on which ruleset.
    pub fn staged_counts(&self) -> Vec<(FirewallId, usize)> {
        let staged = self.firewalls.iter().filter(|f| f.staged() > 0);
        staged.map(|f| (f.id, f.staged())).collect()
    }

    /// The command lines that would carry out what is staged, for a shell: one for each ruleset.
    pub fn commands(&self) -> String {
        let mut text = String::new();
        for firewall in &self.firewalls {
            if let Some(stage) = firewall.stage() {
                let script = crate::edit::script(
                    stage.base(),
                    &stage.staged(),
                    &stage.base().saved_counters(),
                );
                match script {
                    Ok(script) => text.push_str(&String::from_utf8_lossy(&script.shell())),
                    Err(error) => {
                        text.extend(error.to_string().lines().map(|line| format!("# {line}\n")));
                    }
                }
            }
        }
        text
    }

    /// Both back ends hold rules, so that each chain has to say whose it is.
    pub fn two_backends(&self) -> bool {
        let first = self.firewalls.first().map(|f| f.id.backend);
        self.firewalls.iter().any(|f| Some(f.id.backend) != first)
    }

    /// When something on the screen changes by itself: a lit row fades, a word goes, a rate ages.
    pub fn next_wake(&self) -> Option<Duration> {
        let clock = self.change.pending.as_ref();
        let clock = clock.and_then(|pending| pending.next_tick(self.now));
        if self.frozen {
            let said = self.said.as_ref().map(|(_, until)| *until);
            return said.into_iter().chain(clock).min();
        }
        let fades = self
            .firewalls
            .iter()
            .filter_map(|f| f.next_fade(self.now, self.interval));
        let said = self.said.as_ref().map(|(_, until)| *until);
        // Rates of the feed, and patience with a silent log, are looked at once a second: from the
        // last look and not from now, which every message moves on.
        let looks = self.feed.is_moving(self.now) || self.silence.is_waiting();
        let look = looks.then(|| self.woken + Duration::from_secs(1));
        fades.chain(said).chain(look).chain(clock).min()
    }

    /// Chains that the chain dialog offers for what was typed, with the name that it shows.
    pub fn chain_choices(&self, picker: &Picker) -> Vec<(crate::app::board::Place, String)> {
        let filter = crate::app::filter::Filter::new(&picker.query);
        let mut found = Vec::new();
        for entry in &self.board.entries {
            if let crate::app::board::Entry::Chain(f, chain) = entry {
                let name = self.chain_title(*f, *chain);
                if filter.accepts(name.as_bytes()) {
                    found.push((
                        crate::app::board::Place {
                            firewall: *f,
                            chain: *chain,
                        },
                        name,
                    ));
                }
            }
        }
        found
    }

    /// Which rule of the kernel wrote a line, over all rulesets; they are told apart by their index.
    pub fn writer_of(&self, line: &KernelLine) -> Attribution<usize> {
        let sets = self.firewalls.iter().enumerate();
        attribute(
            sets.map(|(i, f)| (i, f.kernel().as_ref(), &f.log_rules)),
            line,
        )
    }

    /// `v4 filter INPUT`, with the back end where there are two.
    pub fn chain_title(&self, firewall: usize, chain: ChainIdx) -> String {
        let Some(firewall) = self.firewalls.get(firewall) else {
            return String::new();
        };
        let set = &firewall.ruleset;
        let chain = set.chain(chain);
        let label = self.label(firewall.id);
        format!(
            "{label} {} {}",
            set.table(chain.table()).name(),
            chain.name()
        )
    }

    /// `v4`, or `v4 legacy` where both back ends hold rules.
    pub fn label(&self, id: FirewallId) -> String {
        let family = id.family.name();
        let mut label = family.to_owned();
        if let Some(backend) = id.backend.filter(|_| self.two_backends()) {
            label = format!("{label} {}", backend.name());
        }
        if id.nth > 0 {
            label = format!("{label} ({})", u16::from(id.nth) + 1);
        }
        label
    }

    /// Rows of the help for what was typed: indexes into the keymap.
    pub fn help_choices(&self, picker: &Picker) -> Vec<usize> {
        let filter = crate::app::filter::Filter::new(&picker.query);
        let text = |i: usize| {
            let binding = &self.keymap.bindings()[i];
            let keys: Vec<String> = binding.keys.iter().map(Key::to_string).collect();
            format!("{} {}", keys.join(" "), binding.desc)
        };
        (0..self.keymap.bindings().len())
            .filter(|i| {
                !matches!(
                    self.keymap.bindings()[*i].place,
                    KeyPlace::Input | KeyPlace::Editor
                )
            })
            .filter(|i| filter.accepts(text(*i).as_bytes()))
            .collect()
    }
}
