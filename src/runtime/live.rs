//! The open doors of a live board: the ruleset poller, the conntrack gauge, the drop sources. What
//! comes through them is put into the words of [`Message`] here, so that the loop stays a loop.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use crate::app::attribution::LogRules;
use crate::app::message::{Effect, Loaded, Message};
use crate::app::notice::{Level, Notice};
use crate::app::state::{Mode, State};
use crate::app::why::question::Question;
use crate::flow::{LogChannel, LogSource};
use crate::host;
use crate::netfilter::drops::{self, Following, silence};
use crate::ruleset::{ChainIdx, Origin};
use crate::runtime::board::Event;
use crate::runtime::editing;
use crate::runtime::poller::{self, Command, PollEvent, Poller};
use crate::runtime::pulse::{self, Pulse};
use crate::runtime::shadows::Shadower;
use crate::runtime::why::Explainer;
use crate::runtime::words::{
    Prepared, is_of_demo, leftover_notice, lossy_notice, native_notice, stage_words,
};

/// The doors.
pub struct Doors {
    events: UnboundedSender<Event>,
    start: Instant,
    poller: Option<Poller>,
    gauge: Option<Sender<Pulse>>,
    /// Looks for rules that no packet can match.
    shadower: Option<Shadower>,
    explainer: Option<Explainer>,
    sources: Vec<Following>,
    /// NFLOG groups that were opened, or tried.
    groups: Vec<u16>,
    /// What is read, and what could not be: for telling why nothing is heard.
    known: silence::Sources,
    watched: Option<(Origin, ChainIdx)>,
    /// In a demo: whether its rules write to the kernel's log. It runs in a namespace of its own, while
    /// that log is the whole machine's.
    demo: Option<bool>,
    /// The program is to be stopped like any job.
    pub suspend: bool,
}

impl Doors {
    /// No door is open yet.
    pub fn new(events: UnboundedSender<Event>, start: Instant) -> Self {
        Self {
            events,
            start,
            poller: None,
            gauge: None,
            shadower: None,
            explainer: None,
            sources: Vec::new(),
            groups: Vec::new(),
            known: silence::Sources::default(),
            watched: None,
            demo: None,
            suspend: false,
        }
    }

    /// Opens them all. One that stays shut leaves the others open, and says why.
    pub fn open(&mut self, state: &State) {
        let events = self.events.clone();
        let options = poller::Options {
            interval: state.interval,
            ..Default::default()
        };
        let sink = move |event| {
            let event = match event {
                PollEvent::Loaded(loaded) => Event::Loaded(Box::new(Prepared::of(*loaded))),
                other => Event::Poll(other),
            };
            events.send(event).is_ok()
        };
        match Poller::spawn(options, Box::new(sink)) {
            Ok(poller) => self.poller = Some(poller),
            Err(error) => self.tell(Message::Notice(Notice::new(
                Level::Alarm,
                "poller",
                format!("no thread to read the firewall with: {error}"),
                "raise the limit of processes (ulimit -u) and start again",
            ))),
        }
        self.shadower = Shadower::start(self.events.clone()).ok(); // without it no rule is called dead
        self.gauge = pulse::start(self.events.clone(), state.interval);
        self.demo = match state.facts.mode {
            Mode::Demo { logs, .. } => Some(logs),
            Mode::Live | Mode::File(_) => None,
        };
        self.open_log();
    }

    /// Opens the kernel's log, or what stands for it.
    fn open_log(&mut self) {
        let history = if self.demo.is_some() {
            0
        } else {
            drops::Options::default().history
        };
        let opened = drops::open_best(&drops::Options { history });
        for passed in &opened.passed_over {
            self.known
                .passed_over
                .push(format!("{}: {}", passed.name, passed.error));
            self.tell(Message::Notice(Notice::new(
                Level::Info,
                format!("log {}", passed.name),
                format!("{} is not read: {}", passed.name, passed.error),
                "",
            )));
        }
        match opened.source {
            Some(source) => {
                if self.demo.is_none() && silence::look().first_namespace == Some(false) {
                    self.tell(Message::Notice(Notice::new(
                        Level::Info,
                        "log of all",
                        "the kernel's log is the whole machine's, and this is a network namespace of its own",
                        "lines of other namespaces may stand among these",
                    )));
                }
                self.known.kernel = Some(source.kind());
                self.known.file =
                    (source.kind() == LogSource::File).then(|| source.describe().into());
                self.follow(source);
            }
            None => self.tell(Message::Notice(Notice::new(
                Level::Warning,
                "log",
                "no kernel log can be read: the drop feed shows NFLOG only",
                "read the reasons above; root, or CAP_SYSLOG, opens /dev/kmsg",
            ))),
        }
    }

    fn follow(&mut self, source: Box<dyn drops::DropSource>) {
        let (events, index) = (self.events.clone(), self.sources.len());
        let what = source.describe();
        match Following::start(source, move || {
            let _ = events.send(Event::Lines(index));
        }) {
            Ok(following) => {
                self.sources.push(following);
                let names: Vec<&str> = self.sources.iter().map(Following::describe).collect();
                self.tell(Message::Source(names.join(" + ")));
            }
            Err(error) => self.tell(Message::Notice(Notice::new(
                Level::Warning,
                format!("log {what}"),
                format!("{what} cannot be followed: {error}"),
                "",
            ))),
        }
    }

    /// Listens to the NFLOG groups that the rules write to.
    fn follow_nflog(&mut self, rules: &LogRules) {
        let mut groups = rules.groups();
        groups.retain(|group| !self.groups.contains(group));
        for group in groups {
            self.groups.push(group);
            match drops::open_nflog(&[group]) {
                Ok(source) => {
                    self.known.groups.push(group);
                    self.follow(source);
                }
                Err(error) => {
                    self.known.refused.push((group, error.to_string()));
                    self.tell(Message::Notice(Notice::new(
                        Level::Warning,
                        format!("nflog {group}"),
                        format!("NFLOG group {group} is not heard: {error}"),
                        "another program (ulogd) may hold the group; its own log has the lines",
                    )));
                }
            }
        }
    }

    /// Says something to the loop.
    fn tell(&self, message: Message) {
        tracing::info!(?message, "said");
        let _ = self.events.send(Event::Message(message));
    }

    /// Carries out what the state asks of the doors.
    pub fn carry_out(&mut self, effect: &Effect) {
        if editing::carry_out(effect, &self.events) {
            return;
        }
        // A saved dump has no poller, and can be asked all the same.
        if let Effect::Explain(question) = effect {
            self.explain(question);
            return;
        }
        let Some(poller) = &self.poller else { return };
        match *effect {
            Effect::Watch(id, chain) => {
                let wanted = id.origin().map(|origin| (origin, chain));
                if let Some((origin, chain)) = self.watched.filter(|old| Some(*old) != wanted) {
                    poller.send(Command::Unwatch { origin, chain });
                }
                if let Some((origin, chain)) = wanted {
                    poller.send(Command::Watch { origin, chain });
                }
                self.watched = wanted;
            }
            Effect::Interval(interval) => {
                poller.send(Command::Interval(interval));
                self.pulse(Pulse::Interval(interval));
            }
            Effect::Freeze(on) => {
                poller.send(Command::Freeze(on));
                self.pulse(Pulse::Freeze(on));
            }
            Effect::ReadNow => poller.send(Command::ReadNow),
            Effect::ExplainSilence(channel) => self.explain_silence(channel),
            // The loop's own, and its changes'.
            Effect::Quit
            | Effect::Suspend
            | Effect::Redraw
            | Effect::Copy(_)
            | Effect::Check
            | Effect::Apply(..)
            | Effect::Reshelve(_)
            | Effect::Confirm
            | Effect::Revert
            | Effect::Extend(_)
            | Effect::LookAtSaved(_)
            | Effect::WriteSaved(_)
            | Effect::ReadHistory
            | Effect::ReadConnections
            | Effect::ReadBackup(_)
            | Effect::Probe(..)
            | Effect::Unprobe(..)
            // Carried out above.
            | Effect::Explain(_)
            | Effect::ReadNames
            | Effect::Resolve(_)
            | Effect::CheckRule { .. } => {}
        }
    }

    /// Hands a question to the thread that explains, which the first one starts.
    fn explain(&mut self, question: &Question) {
        if self.explainer.is_none() {
            match Explainer::start(self.events.clone()) {
                Ok(explainer) => self.explainer = Some(explainer),
                Err(error) => {
                    self.tell(Message::Say(format!("no thread to explain with: {error}")));
                }
            }
        }
        if let Some(explainer) = &self.explainer {
            explainer.ask(question.clone());
        }
    }

    /// Asks the kernel why nothing is heard, on a thread of its own: it looks through /proc.
    fn explain_silence(&self, channel: LogChannel) {
        let (events, known) = (self.events.clone(), self.known.clone());
        let ask = move || {
            let causes = silence::causes(channel, &silence::look(), &known);
            let words: Vec<String> = causes.iter().map(ToString::to_string).collect();
            let message = Message::Silent {
                channel,
                cause: words.join("; or "),
                remedy: causes
                    .first()
                    .map(|cause| cause.remedy().to_owned())
                    .unwrap_or_default(),
            };
            let _ = events.send(Event::Message(message));
        };
        if let Err(error) = std::thread::Builder::new()
            .name("silence".to_owned())
            .spawn(ask)
        {
            tracing::warn!(%error, "no thread to ask why the log is silent");
        }
    }

    fn pulse(&self, pulse: Pulse) {
        if let Some(gauge) = &self.gauge {
            let _ = gauge.send(pulse);
        }
    }

    /// What the poller said, in the words of the state.
    pub fn polled(&mut self, event: PollEvent) -> Vec<Message> {
        match event {
            PollEvent::Progress { origin, stage } => {
                vec![Message::Loading(origin.into(), stage_words(stage))]
            }
            PollEvent::Loaded(loaded) => self.loaded(Prepared::of(*loaded)),
            PollEvent::Counters {
                origin,
                at,
                readings,
            } => {
                let at = at.saturating_duration_since(self.start);
                vec![Message::Counters {
                    id: origin.into(),
                    at,
                    readings,
                }]
            }
            PollEvent::Gone { origin } => vec![
                Message::Withdraw(format!("load {origin}")),
                Message::Gone(origin.into()),
            ],
            PollEvent::Failed {
                origin,
                error,
                remedy,
            } => {
                tracing::warn!(%origin, error, "cannot be read");
                vec![
                    Message::Gone(origin.into()),
                    Message::Notice(Notice::new(
                        Level::Warning,
                        format!("load {origin}"),
                        error,
                        remedy,
                    )),
                ]
            }
            PollEvent::Native(chains) => vec![native_notice(&chains), Message::Native(chains)],
        }
    }

    /// A structure, in the words of the state.
    pub fn loaded(&mut self, prepared: Prepared) -> Vec<Message> {
        let Prepared {
            loaded,
            log_rules,
            handles,
            leftovers,
        } = prepared;
        tracing::info!(
            origin = %loaded.origin,
            rules = loaded.ruleset.rule_count(),
            chains = loaded.ruleset.chains().len(),
            took = ?loaded.took,
            author = ?loaded.author,
            "loaded"
        );
        self.follow_nflog(&log_rules);
        let origin = loaded.origin;
        let mut messages = vec![
            Message::Withdraw(format!("load {origin}")),
            Message::Withdraw(format!("save {origin}")),
        ];
        for (i, warning) in loaded.warnings.iter().enumerate() {
            let key = format!("save {origin} {i}");
            messages.push(Message::Notice(Notice::new(
                Level::Warning,
                key,
                format!("{origin}: {warning}"),
                "",
            )));
        }
        if let Some(shadower) = &self.shadower {
            shadower.look(
                origin.into(),
                Arc::clone(&loaded.ruleset),
                loaded.lossy.clone(),
            );
        }
        messages.push(lossy_notice(origin, &loaded));
        messages.push(leftover_notice(origin, leftovers));
        messages.push(Message::Loaded(Box::new(Loaded {
            id: origin.into(),
            handles,
            log_rules,
            ruleset: loaded.ruleset,
            lossy: loaded.lossy,
            uncounted_rules: loaded.uncounted.rules,
            uncounted_policies: loaded.uncounted.policies,
            author: loaded.author,
        })));
        messages
    }

    /// Lines that a source has for us; a source that ended says why.
    pub fn lines(&mut self, source: usize) -> Vec<Message> {
        let Some(following) = self.sources.get(source) else {
            return Vec::new();
        };
        let mut taken = following.take();
        if let Some(logs) = self.demo {
            let own = host::network_namespace();
            taken.batch.lines.retain(|line| is_of_demo(line, own, logs));
        }
        let mut messages = vec![Message::Lines(taken.batch)];
        if let Some(Err(error)) = taken.ended {
            let what = following.describe();
            messages.push(Message::Notice(Notice::new(
                Level::Warning,
                format!("log {what}"),
                format!("{what} ended: {error}"),
                "",
            )));
        }
        messages
    }

    /// Shuts them all and waits for their threads.
    pub fn close(&mut self) {
        self.gauge = None;
        self.explainer = None;
        self.poller = None;
        self.shadower = None;
        self.sources.clear();
    }
}
