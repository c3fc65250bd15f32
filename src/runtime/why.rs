//! The thread that answers why: it reads the box, works out the verdict, then reads the rest of the box.
//!
//! A thread of its own, because routes are asked of the kernel, a ruleset of 100,000 rules takes a moment
//! to compile, and finding who holds a socket is a walk through all of /proc. It lives from the first question
//! on and keeps what it compiled. Questions that came while it was at work are passed over but for the last;
//! the verdict goes out as soon as it is there, what the rest of the box says follows.

use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::Message;
use crate::app::why::offer::offers;
use crate::app::why::question::{Answered, Beside, Programs, Question, answer};
use crate::flow::{Machine, RouteQuestion};
use crate::host;
use crate::runtime::board::Event;
use crate::verdict::{Facts, elsewhere, questions};

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
    let mut programs = Programs::default();
    while let Ok(question) = asked.recv() {
        let question = asked.try_iter().last().unwrap_or(question);
        let mut machine = if question.live {
            host::links()
        } else {
            Machine::default()
        };
        let facts = facts(&question, &machine);
        let mut ask = |asked: &[RouteQuestion], machine: &Machine| host::routes(asked, machine);
        let Some(answered) = answer(&question, &mut programs, &facts, &mut machine, &mut ask)
        else {
            continue;
        };
        let verdict = Message::Answered(Box::new(answered.clone()));
        if events.send(Event::Message(verdict)).is_err() {
            return;
        }
        let offers = offers(&question, &answered, &facts);
        let offers = Message::Offered(offers);
        if events.send(Event::Message(offers)).is_err() {
            return;
        }
        if question.live {
            let beside = beside(&question, &answered, &machine);
            if events
                .send(Event::Message(Message::Beside(beside)))
                .is_err()
            {
                return;
            }
        }
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
        local: machine.addresses(),
        broadcast: machine.broadcasts(),
        now: question.live.then(now),
        ..Facts::default()
    }
}

/// The rest of the box.
fn beside(question: &Question, answered: &Answered, links: &Machine) -> Beside {
    let local = links.addresses();
    let asked = questions(&answered.probe, &answered.explanation, local.as_deref());
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
