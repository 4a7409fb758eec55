//! HTTP/1.1 kept alive, as far as the load generator needs it: requests as bytes, and where an answer ends.

/// A POST to `localhost`.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += "\r\n";
    let mut request = request.into_bytes();
    request.extend_from_slice(body);
    request
}

/// The status of an answer.
pub(crate) fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

/// Length of an answer, head and body, once its head is there (RFC 9112 §6.3). A chunked one ends with its last chunk.
pub(crate) fn answer_length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let header = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        // No trailers: the servers measured send none.
        return bytes[head..].ends_with(b"0\r\n\r\n").then_some(bytes.len());
    }
    Some(head + header("content-length").map_or(Ok(0), str::parse::<usize>).ok()?)
}

/// The body of a whole answer.
pub(crate) fn body(answer: &[u8]) -> &[u8] {
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    &answer[head..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of an answer is known as soon as its head is there, and not before.
    #[test]
    fn answers_end_where_they_say() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        for cut in 0..answer.len() {
            let known = answer_length(&answer[..cut]);
            assert_eq!(known, (cut >= answer.len() - 2).then_some(answer.len()), "{cut}");
        }
        assert_eq!((status(answer), body(answer)), (Some(200), &b"ok"[..]));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        assert_eq!(answer_length(&chunked[..chunked.len() - 3]), None);
        assert_eq!(answer_length(chunked), Some(chunked.len()));
        assert_eq!(status(b"SSH-2.0"), None);
    }
}
