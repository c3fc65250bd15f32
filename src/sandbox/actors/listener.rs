//! Services: they answer every request with so many bytes, and count on nothing.
//!
//! Bound before `start` returns, so that no client finds a port closed because it was early.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::sandbox::scenario::{Listener, Proto};

/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(30);

/// Bind one service and serve it for ever, in tasks of the current runtime.
pub async fn start(listener: &Listener, ipv6: bool) -> io::Result<()> {
    let any = if ipv6 {
        // Of both families: bindv6only is 0 in a new namespace.
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    let addresses = if listener.addresses.is_empty() {
        vec![any]
    } else {
        listener.addresses.clone()
    };
    for address in addresses {
        let address = SocketAddr::new(address, listener.port);
        let reply = vec![b'.'; listener.reply];
        if listener.proto == Proto::Tcp {
            let socket = TcpListener::bind(address).await?;
            tokio::spawn(serve_tcp(socket, reply));
        } else {
            let socket = UdpSocket::bind(address).await?;
            tokio::spawn(serve_udp(socket, reply));
        }
    }
    Ok(())
}

async fn serve_tcp(socket: TcpListener, reply: Vec<u8>) {
    let reply: std::sync::Arc<[u8]> = reply.into();
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                let reply = std::sync::Arc::clone(&reply);
                tokio::spawn(answer(stream, reply));
            }
            // Out of descriptors, or a caller that was gone already: neither may turn into a busy loop.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn answer(mut stream: TcpStream, reply: std::sync::Arc<[u8]>) {
    let mut request = [0; 1024];
    while let Ok(Ok(1..)) = timeout(IDLE, stream.read(&mut request)).await {
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

async fn serve_udp(socket: UdpSocket, reply: Vec<u8>) {
    let mut request = [0; 2048];
    loop {
        match socket.recv_from(&mut request).await {
            Ok((_, caller)) => {
                // A reply that the box's own firewall refuses is the point of some scenarios.
                let _ = socket.send_to(&reply, caller).await;
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}
