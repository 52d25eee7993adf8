//! As much of an HTTP client as asking a node on this machine needs: one request, one answer, one connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// No node on this machine takes longer to answer, unless something is wrong with it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Far more than any list that we ask for.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// Asks for `path` and reads the answer as JSON.
pub(crate) fn get_json(node: SocketAddr, path: &str) -> io::Result<Value> {
    serde_json::from_slice(&get(node, path)?).map_err(io::Error::other)
}

/// Asks for `path` and gives the answer.
pub(crate) fn get(node: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let (status, body) = exchange(node, "GET", path, b"")?;
    if status != 200 {
        return Err(io::Error::other(format!("GET {path} answered {status}")));
    }
    Ok(body)
}

/// Posts `body` and gives the status.
pub(crate) fn post(node: SocketAddr, path: &str, body: &[u8]) -> io::Result<u16> {
    exchange(node, "POST", path, body).map(|(status, _)| status)
}

fn exchange(node: SocketAddr, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&node, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {node}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    parse(&answer)
}

/// Splits an answer into status and body.
fn parse(answer: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let broken = |why: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not an HTTP answer: {why}"),
        )
    };
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| broken("no end of the head"))?;
    let head =
        std::str::from_utf8(&answer[..end]).map_err(|_| broken("a head that is not text"))?;
    let body = answer[end + 4..].to_vec();
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| broken("no status"))?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok());
    match length {
        Some(length) if length != body.len() => Err(broken("a body that is cut short")),
        _ => Ok((status, body)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_status_and_body() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(parse(answer).unwrap(), (200, b"{}".to_vec()));
        assert_eq!(
            parse(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(),
            (204, vec![])
        );
    }

    #[test]
    fn refuses_what_is_cut_short() {
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(parse(b"").is_err());
    }
}
