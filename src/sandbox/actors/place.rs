//! A place: a thread in its own network namespace that serves, calls and probes there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::call::Call;
use super::client::{self, Tally};
use super::listener;
use crate::sandbox::scenario::{Client, Listener, Place, Probe, ProbeResult};

/// How long a probe waits for an answer: three tries of a SYN that is being dropped.
const PROBE_PATIENCE: Duration = Duration::from_millis(2_500);

const GONE: &str = "the place's thread is gone";

/// Handle of a place's thread. The thread lives as long as the process.
#[derive(Debug)]
pub struct PlaceThread {
    jobs: UnboundedSender<Job>,
}

enum Job {
    Listen(Vec<Listener>, bool, SyncSender<io::Result<()>>),
    Call(Client, Arc<Tally>),
    Probe(Probe, SyncSender<ProbeResult>),
}

impl PlaceThread {
    /// Start the thread; except for the box it gets a new network namespace, in which `prepare` is run
    /// (links, addresses) before this returns. The error is in words.
    pub fn start(
        place: Place,
        prepare: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, String> {
        let (jobs, inbox) = unbounded_channel();
        let (done, prepared) = sync_channel(1);
        thread::Builder::new()
            .name(format!("{place:?}").to_lowercase())
            .spawn(move || {
                let ready = new_namespace(place).and_then(|()| prepare());
                let go_on = ready.is_ok();
                let _ = done.send(ready);
                if go_on {
                    live(inbox);
                }
            })
            .map_err(|error| format!("thread: {error}"))?;
        prepared
            .recv()
            .map_err(|_| "thread ended early".to_owned())??;
        Ok(Self { jobs })
    }

    /// Bind these services; returns when they are bound.
    pub fn listen(&self, listeners: Vec<Listener>, ipv6: bool) -> Result<(), String> {
        let (reply, bound) = sync_channel(1);
        self.jobs
            .send(Job::Listen(listeners, ipv6, reply))
            .map_err(|_| GONE.to_owned())?;
        bound
            .recv()
            .map_err(|_| GONE.to_owned())?
            .map_err(|error| error.to_string())
    }

    /// Let this group call from now on.
    pub fn call(&self, client: Client, tally: Arc<Tally>) {
        // A thread that is gone cannot call; its probes say so.
        let _ = self.jobs.send(Job::Call(client, tally));
    }

    /// Begin to try one flow.
    pub fn probe(&self, probe: &Probe) -> Result<Pending, String> {
        let (reply, result) = sync_channel(1);
        self.jobs
            .send(Job::Probe(probe.clone(), reply))
            .map_err(|_| GONE.to_owned())?;
        Ok(Pending(result))
    }
}

/// A probe under way.
#[derive(Debug)]
pub struct Pending(Receiver<ProbeResult>);

impl Pending {
    /// Its result.
    pub fn wait(self) -> Result<ProbeResult, String> {
        self.0.recv().map_err(|_| GONE.to_owned())
    }
}

fn new_namespace(place: Place) -> Result<(), String> {
    if place == Place::Box {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| format!("network namespace: {errno}"))
}

fn live(mut inbox: UnboundedReceiver<Job>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return;
    };
    runtime.block_on(async move {
        while let Some(job) = inbox.recv().await {
            match job {
                Job::Listen(listeners, ipv6, reply) => {
                    let _ = reply.send(listen(&listeners, ipv6).await);
                }
                Job::Call(client, tally) => {
                    tokio::spawn(client::run(client, tally));
                }
                Job::Probe(probe, reply) => {
                    tokio::spawn(async move {
                        let _ = reply.send(try_flow(&probe).await);
                    });
                }
            }
        }
    });
}

async fn listen(listeners: &[Listener], ipv6: bool) -> io::Result<()> {
    for listener in listeners {
        listener::start(listener, ipv6).await.map_err(|error| {
            let (proto, port) = (listener.proto, listener.port);
            io::Error::other(format!("{proto:?} port {port}: {error}"))
        })?;
    }
    Ok(())
}

async fn try_flow(probe: &Probe) -> ProbeResult {
    let call = Call {
        proto: probe.proto,
        from: Some(probe.from),
        to: SocketAddr::new(probe.to, probe.port),
        patience: PROBE_PATIENCE,
        hold: Duration::ZERO,
    };
    call.make(|| ()).await
}
