//! The message encoding cases of 1.0 to 1.2 as they are printed (`.txt`): each message as XML, as TTLV in hexadecimal, and as JSON text
//! or as the octets of HTTP.

/// One message, in every form that the case prints.
#[derive(Clone, Debug)]
pub struct Printed {
    /// XML.
    pub xml: String,
    /// TTLV.
    pub ttlv: Vec<u8>,
    /// JSON.
    pub json: Option<String>,
    /// HTTP, header and body.
    pub http: Option<Vec<u8>>,
}

const STRAY: [u8; 2] = [0x15, 0x32];

impl Printed {
    /// The body of the HTTP form.
    #[must_use]
    pub fn http_body(&self) -> Option<&[u8]> {
        let http = self.http.as_deref()?;
        let end = http.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some(&http[end + 4..])
    }

    /// Mends a defect of the documents: two octets (15 32) stand in the middle of the tag of the request messages in HTTP, where
    /// the body is otherwise the TTLV above it.
    fn mended(mut self) -> Self {
        let stray = self.http_body().is_some_and(|body| {
            body.len() == self.ttlv.len() + 2
                && body[..2] == self.ttlv[..2]
                && body[2..4] == STRAY
                && body[4..] == self.ttlv[2..]
        });
        if let (true, Some(http)) = (stray, &mut self.http) {
            let at = http.len() - self.ttlv.len();
            http.drain(at..at + STRAY.len());
        }
        self
    }
}

/// The messages of a case, in order.
#[must_use]
pub fn read(text: &str) -> Vec<Printed> {
    let mut messages = Vec::new();
    let mut rest = text;
    while let Some((xml, after)) = next_xml(rest) {
        let end = after.find("\n<Re").unwrap_or(after.len());
        let (forms, next) = after.split_at(end);
        let hexadecimal: String = forms.lines().filter(|line| is_hexadecimal(line)).map(str::trim).collect();
        let json = forms.find("\n{").map(|start| forms[start..].trim());
        let json = json.and_then(|json| json.rfind('}').map(|end| json[..=end].to_owned()));
        let http: Vec<u8> = forms.lines().filter_map(dumped).flatten().collect();
        messages.push(
            Printed {
                xml: xml.to_owned(),
                ttlv: hex::decode(hexadecimal).unwrap_or_default(),
                json,
                http: (!http.is_empty()).then_some(http),
            }
            .mended(),
        );
        rest = next;
    }
    messages
}

fn next_xml(text: &str) -> Option<(&str, &str)> {
    let start = text.find("<Re")?;
    let name = &text[start + 1..start + text[start..].find('>')?];
    let end = format!("</{name}>");
    let stop = start + text[start..].find(&end)? + end.len();
    Some((&text[start..stop], &text[stop..]))
}

fn is_hexadecimal(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The octets of a line of a dump: `00000000: 50 4f 53 54 20   2f 6b 6d-69 ... 2f   POST /kmip HTTP/`.
fn dumped(line: &str) -> Option<Vec<u8>> {
    const OCTETS: std::ops::Range<usize> = 10..59;
    let is_offset = |offset: &str| offset.len() == 8 && offset.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !line.split_once(": ").is_some_and(|(offset, _)| is_offset(offset)) {
        return None;
    }
    let octets = line.get(OCTETS.start..OCTETS.end.min(line.len()))?;
    octets.split([' ', '-']).filter(|octet| !octet.is_empty()).map(|octet| u8::from_str_radix(octet, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_dump_is_read() {
        let line = "00000000: 50 4f 53 54 20   2f 6b 6d-69 70 20 48 54 54 50 2f   POST /kmip HTTP/";
        assert_eq!(dumped(line).as_deref(), Some(b"POST /kmip HTTP/".as_slice()));
        let last = "00000130: 00 00 00 02 00   00 00 00-                          ........";
        assert_eq!(dumped(last).as_deref(), Some([0, 0, 0, 2, 0, 0, 0, 0].as_slice()));
        assert_eq!(dumped("42007801000000904200770100000048420069010000002042006a02000000040000000100000000"), None);
    }
}
