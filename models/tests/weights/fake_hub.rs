//! A Hugging Face hub on loopback: as much of its protocol as a download uses, and its ways of going wrong.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository `owner/repo`.
#[derive(Clone)]
pub struct HubFile {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    /// SHA-256 of files in LFS, a git hash of small files.
    pub etag: String,
    /// Large files are served from another address, to which the hub redirects.
    pub lfs: bool,
    /// So many transfers break off half way.
    pub breaks: usize,
}

impl HubFile {
    pub fn lfs(name: &'static str, bytes: &[u8]) -> Self {
        Self { name, bytes: bytes.to_vec(), etag: sha256(bytes), lfs: true, breaks: 0 }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The server; it stops when dropped.
pub struct FakeHub {
    pub endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeHub {
    pub fn start(files: Vec<HubFile>) -> Self {
        let mut files = files;
        Self::answering(move |request| answer(&mut files, request))
    }

    /// A server that gives each request the answer made by `answer`: head and body, as bytes.
    pub fn answering(mut answer: impl FnMut(&Request) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&requests);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let Some(request) = Request::read(&stream) else {
                    continue;
                };
                if request.path == "/stop" {
                    return;
                }
                log.lock().unwrap().push(format!("{} {}", request.path, request.range));
                let _ = (&stream).write_all(&answer(&request));
            }
        });
        Self { endpoint, requests, thread: Some(thread) }
    }

    /// `path range` of each request so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.endpoint.trim_start_matches("http://")) {
            let _ = stream.write_all(b"GET /stop HTTP/1.1\r\n\r\n");
        }
        let _ = self.thread.take().unwrap().join();
    }
}

/// The relevant part of a request.
pub struct Request {
    pub path: String,
    /// Value of the Range header, or empty.
    pub range: String,
}

impl Request {
    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut range = String::new();
        for line in lines {
            let line = line.ok()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("range")
            {
                range = value.to_owned();
            }
        }
        Some(Self { path, range })
    }
}

/// An answer with the given status line, headers and body.
pub fn http(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

fn answer(files: &mut [HubFile], request: &Request) -> Vec<u8> {
    if request.path.starts_with("/api/models/owner/repo/revision/") {
        let siblings: Vec<_> = files.iter().map(|file| serde_json::json!({"rfilename": file.name})).collect();
        let body = serde_json::json!({"sha": COMMIT, "siblings": siblings}).to_string();
        return http("200 OK", &[("content-type", "application/json")], body.as_bytes());
    }
    let name = request.path.rsplit('/').next().unwrap_or_default();
    let known = request.path.starts_with("/owner/repo/resolve/") || request.path.starts_with("/cdn/");
    let Some(file) = files.iter_mut().find(|file| known && file.name == name) else {
        return http("404 Not Found", &[("x-error-code", "EntryNotFound")], b"");
    };
    let etag = format!("\"{}\"", file.etag);
    let size = file.bytes.len().to_string();
    if file.lfs && !request.path.starts_with("/cdn/") {
        // The real hub redirects to another host, whose etag is another one.
        let location = format!("/cdn/{name}");
        return http(
            "302 Found",
            &[("location", &location), ("x-repo-commit", COMMIT), ("x-linked-etag", &etag), ("x-linked-size", &size)],
            b"",
        );
    }
    let (start, end) = request.range.trim_start_matches("bytes=").split_once('-').unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap_or(0);
    let end = end.parse().map_or(file.bytes.len(), |end: usize| end + 1).min(file.bytes.len());
    if start >= end {
        return http("416 Range Not Satisfiable", &[], b"");
    }
    let range = format!("bytes {start}-{}/{size}", end - 1);
    let headers = [
        ("content-range", range.as_str()),
        ("accept-ranges", "bytes"),
        ("x-repo-commit", COMMIT),
        ("x-linked-etag", &etag),
        ("etag", "\"of-the-cdn\""),
    ];
    let mut answer = http("206 Partial Content", &headers, &file.bytes[start..end]);
    if end - start > 1 && file.breaks > 0 {
        file.breaks -= 1;
        answer.truncate(answer.len() - (end - start) / 2);
    }
    answer
}
