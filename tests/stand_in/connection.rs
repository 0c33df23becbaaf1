//! Connections of clients, which a test can have broken.
//!
//! Promises: small answers are sent at once (no delay of Nagle's); when connections are broken, every open
//! one is reset, and new ones are accepted. Does not: know who is connected.

use futures_util::Stream;
use futures_util::StreamExt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::node::Node;

pub struct Connection {
    socket: TcpStream,
    /// Ready when the connection is to break; none afterwards.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

pub fn accept(listener: TcpListener, node: Arc<Node>) -> impl Stream<Item = io::Result<Connection>> {
    TcpListenerStream::new(listener).map(move |socket| {
        let socket = socket?;
        socket.set_nodelay(true)?;
        let mut cuts = node.faults.cuts();
        let cut = async move {
            // An error means the process is ending, which cuts it too.
            let _ = cuts.changed().await;
        };
        Ok(Connection { socket, cut: Some(Box::pin(cut)) })
    })
}

impl Connection {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            if cut.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            self.cut = None;
            // Closing then resets instead of saying good-bye; if that fails it is closed all the same.
            let _ = self.socket.set_zero_linger();
        }
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.cut.is_some() {
            ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.socket.connect_info()
    }
}
