//! A plain HTTP client: one request per connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result};

/// A response.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// From the status line.
    pub status: u16,
    /// As received, without the status line.
    pub headers: String,
    /// The body.
    pub body: String,
}

/// Requests a page with GET.
///
/// # Errors
/// If there is no response, or none that is HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<HttpResponse> {
    ask(address, "GET", path, "*/*")
}

/// The same with another method and an Accept header.
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

/// Decodes a chunked body.
fn joined(mut chunks: &str) -> Result<String> {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16)?;
        body.push_str(rest.get(..length).context("a chunk is cut off")?);
        chunks = rest.get(length + 2..).unwrap_or_default();
    }
    Ok(body)
}
