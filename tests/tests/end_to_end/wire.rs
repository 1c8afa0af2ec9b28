//! A cable between a client and the server that can be cut and mended.

use rota_tests::{LIMIT, wait_for};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// While it is cut, all connections over it are closed and new ones are closed at once.
pub(crate) struct Wire {
    port: u16,
    whole: watch::Sender<bool>,
}

impl Wire {
    /// Lays a cable to a port of this machine.
    pub(crate) async fn lay(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, state.clone()));
            }
        });
        Self { port, whole }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Cuts it, and waits until nothing goes over it any more.
    pub(crate) async fn cut(&self) {
        self.whole.send_replace(false);
        wait_for("the connections are closed", LIMIT, async || {
            match self.whole.receiver_count() {
                1 => Ok(()),
                carried => Err(format!("{} connections", carried - 1)),
            }
        })
        .await;
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn carry(mut client: TcpStream, server: u16, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    tokio::select! {
        biased;
        _ = whole.wait_for(|whole| !whole) => {}
        _ = copy_bidirectional(&mut client, &mut server) => {}
    }
}
