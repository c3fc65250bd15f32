//! The thread that answers why: it reads the box, works out the verdict, then reads the rest of the box.
//!
//! A thread of its own, because routes are asked of the kernel, a ruleset of 100,000 rules takes a moment
//! to compile, and finding who holds a socket is a walk through all of /proc. It lives from the first question
//! on and keeps what it compiled. Questions that came while it was at work are passed over but for the last;
//! the verdict goes out as soon as it is there, what the rest of the box says follows, and then the ways out.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::Message;
use crate::app::why::offer::{Offers, offers};
use crate::app::why::question::{Answered, Beside, Programs, Question, answer};
use crate::flow::{Machine, RouteQuestion};
use crate::host;
use crate::netfilter::xtables::beside::sets_for;
use crate::runtime::board::Event;
use crate::verdict::{About, Cause, Facts, Grade, elsewhere, questions, sets};

/// Where questions go.
#[derive(Debug)]
pub struct Explainer {
    questions: Sender<Question>,
}

impl Explainer {
    /// Starts the thread. It ends when this is dropped, or nobody hears it.
    pub fn start(events: UnboundedSender<Event>) -> std::io::Result<Self> {
        let (questions, asked) = channel();
        std::thread::Builder::new()
            .name("why".to_owned())
            .spawn(move || run(&asked, &events))?;
        Ok(Self { questions })
    }

    /// Asks; the answer comes as messages.
    pub fn ask(&self, question: Question) {
        let _ = self.questions.send(question);
    }
}

fn run(asked: &Receiver<Question>, events: &UnboundedSender<Event>) {
    let mut worker = Worker::default();
    let mut next: Option<Question> = None;
    loop {
        let Some(question) = next.take().or_else(|| asked.recv().ok()) else {
            return;
        };
        let question = asked.try_iter().last().unwrap_or(question);
        let tell = |message| events.send(Event::Message(message)).is_ok();
        let Some(answered) = worker.answer(&question, &tell) else {
            continue;
        };
        // Ways out take the longest: not for a question that nobody asks any more.
        next = asked.try_iter().last();
        if next.is_none() && !tell(Message::Offered(worker.offers(&question, answered))) {
            return;
        }
    }
}

/// What is kept from one question to the next.
#[derive(Default)]
struct Worker {
    programs: Programs,
    facts: Facts,
    /// When the members of the ipsets in them were read.
    members: Option<Instant>,
    /// The connection table has no room for a first packet.
    full: bool,
    /// The last answer with its ways out, and whether the table was full then.
    known: Option<(Answered, bool, Offers)>,
}

/// How long members of ipsets are believed: they may be many, and an open question is asked again and again.
const MEMBERS: Duration = Duration::from_secs(15);

impl Worker {
    /// The verdict, then what the rest of the box says. `None` for a question without a packet.
    fn answer(&mut self, question: &Question, tell: &dyn Fn(Message) -> bool) -> Option<Answered> {
        let mut machine = if question.live {
            host::links()
        } else {
            Machine::default()
        };
        let members = std::mem::take(&mut self.facts.sets);
        self.facts = facts(question, &machine);
        if self.members.is_some_and(|at| at.elapsed() < MEMBERS) {
            self.facts.sets = members;
        } else if question.live {
            let dumps = question.sets.iter().map(|held| held.ruleset.bytes());
            self.facts.sets = sets::read(&sets_for(dumps));
            self.members = Some(Instant::now());
        }
        let mut ask = |asked: &[RouteQuestion], machine: &Machine| host::routes(asked, machine);
        let answered = answer(
            question,
            &mut self.programs,
            &self.facts,
            &mut machine,
            &mut ask,
        )?;
        tell(Message::Answered(Box::new(answered.clone())));
        self.full = false;
        if question.live {
            let beside = beside(question, &answered, &machine);
            let is_full =
                |cause: &Cause| cause.about == About::Conntrack && cause.grade == Grade::Blocks;
            self.full = beside.causes.iter().any(is_full);
            tell(Message::Beside(beside));
        }
        Some(answered)
    }

    /// The ways out; the same packet, rules and stage have the same.
    fn offers(&mut self, question: &Question, answered: Answered) -> Offers {
        let found = match self.known.take() {
            Some((known, full, found)) if full == self.full && known.says_the_same(&answered) => {
                Offers {
                    number: question.number,
                    ..found
                }
            }
            _ => offers(question, &answered, &self.facts, self.full),
        };
        self.known = Some((answered, self.full, found.clone()));
        found
    }
}

/// What a verdict may know of the box.
fn facts(question: &Question, machine: &Machine) -> Facts {
    let now = || {
        jiff::Timestamp::now()
            .to_zoned(jiff::tz::TimeZone::UTC)
            .datetime()
    };
    Facts {
        now: question.live.then(now),
        ..Facts::of(machine)
    }
}

/// The rest of the box.
fn beside(question: &Question, answered: &Answered, links: &Machine) -> Beside {
    let asked = questions(&answered.probe, &answered.explanation, links);
    let machine = host::machine(&asked);
    Beside {
        number: answered.number,
        causes: elsewhere(
            &answered.probe,
            &answered.explanation,
            &machine,
            &question.natives,
        ),
    }
}
