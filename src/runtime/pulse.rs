//! The thread that reads conntrack's figures at every tick.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use crate::app::message::Message;
use crate::netfilter::conntrack::ConntrackMeter;
use crate::runtime::board::Event;

/// What the gauge's thread is told.
pub enum Pulse {
    /// Time between looks.
    Interval(Duration),
    /// Stop looking, or go on.
    Freeze(bool),
}

/// Reads conntrack's figures at every tick, on a thread of its own. `None`: no thread to be had.
pub fn start(events: UnboundedSender<Event>, mut interval: Duration) -> Option<Sender<Pulse>> {
    let (sender, pulses) = channel();
    let run = move || {
        let mut gauge = ConntrackMeter::new();
        let mut frozen = false;
        loop {
            if !frozen {
                let seen = gauge.read().map_err(|error| error.to_string());
                if events
                    .send(Event::Message(Message::Conntrack(seen)))
                    .is_err()
                {
                    return;
                }
            }
            let pulse = if frozen {
                pulses.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                pulses.recv_timeout(interval)
            };
            match pulse {
                Ok(Pulse::Interval(new)) => interval = new,
                Ok(Pulse::Freeze(on)) => frozen = on,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("conntrack".to_owned())
        .spawn(run)
        .ok()
        .map(|_| sender)
}
