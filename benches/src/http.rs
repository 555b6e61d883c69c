//! A client of HTTP/1.1, as small as it can be, so that it takes little of the CPUs that it shares with servers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Result;

/// A connection that stays open.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
    line: String,
    /// How long it waits before it reads the next piece of a body.
    pub pause: Duration,
}

pub(crate) struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

/// How much of a body is read at once.
const PIECE: usize = 64 << 10;

impl Client {
    pub(crate) async fn connect(addr: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream: BufReader::new(stream), line: String::new(), pause: Duration::ZERO })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Reads the response to what was sent.
    pub(crate) async fn response(&mut self) -> Result<Response> {
        let status = self.line().await?.split(' ').nth(1).ok_or("no status")?.parse()?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line().await?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => length = value.parse()?,
                Some(("transfer-encoding", value)) => chunked = value == "chunked",
                Some(_) => {}
                None => break,
            }
        }
        let mut body = Vec::new();
        if chunked {
            loop {
                let length = usize::from_str_radix(self.line().await?, 16)?;
                self.read(length, &mut body).await?;
                self.line().await?;
                if length == 0 {
                    break;
                }
            }
        } else {
            self.read(length, &mut body).await?;
        }
        Ok(Response { status, body })
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<&str> {
        self.line.clear();
        if self.stream.read_line(&mut self.line).await? == 0 {
            return Err("the connection was closed".into());
        }
        Ok(self.line.trim_end())
    }

    /// Appends so many bytes of what comes.
    pub(crate) async fn read(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let end = body.len() + length;
        while body.len() < end {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            let from = body.len();
            body.resize(end.min(from + PIECE), 0);
            self.stream.read_exact(&mut body[from..]).await?;
        }
        Ok(())
    }
}
