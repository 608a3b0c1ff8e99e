//! A plain HTTP client: one request a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// What came back.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Of the status line.
    pub status: u16,
    /// As they came, without the status line.
    pub headers: String,
    /// The rest.
    pub body: String,
}

/// Asks for a page.
///
/// # Errors
/// When there is no answer, or none that is HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<HttpResponse> {
    ask(address, "GET", path, "*/*")
}

/// The same with another method, and with what it accepts.
pub fn ask(address: SocketAddr, method: &str, path: &str, accept: &str) -> Result<HttpResponse> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer))
}

fn parse(answer: &str) -> Result<HttpResponse> {
    let (head, body) = answer.split_once("\r\n\r\n").context("no headers")?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.split(' ').nth(1).context("no status")?;
    Ok(HttpResponse {
        status: status.parse()?,
        headers: headers.to_owned(),
        body: if headers
            .to_lowercase()
            .contains("transfer-encoding: chunked")
        {
            joined(body)?
        } else {
            body.to_owned()
        },
    })
}

/// What was sent in chunks.
fn joined(mut chunks: &str) -> Result<String> {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16)?;
        body.push_str(rest.get(..length).context("a chunk is cut off")?);
        chunks = rest.get(length + 2..).unwrap_or_default();
    }
    Ok(body)
}
