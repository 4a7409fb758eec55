//! The systemd-creds slot: its secret encrypted to this host or its TPM by the system's own tool.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{SecretBytes, SlotFailure};

/// Longest answer taken from the tool; a credential of 32 bytes is under 1 KiB.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn encrypt(id: Uuid, with_key: &str, secret: &[u8]) -> Result<String, SlotFailure> {
    let with_key = format!("--with-key={with_key}");
    let output = run(&["encrypt", &with_key, &name_option(id), "-", "-"], secret)?;
    let text = std::str::from_utf8(&output).map_err(|_| SlotFailure::SystemdCreds("answer is not text".into()))?;
    Ok(text.to_owned())
}

pub(super) fn decrypt(id: Uuid, wrapped: &str) -> Result<SecretBytes, SlotFailure> {
    run(&["decrypt", &name_option(id), "-", "-"], wrapped.as_bytes()).map(SecretBytes::from)
}

/// The name is authenticated by the tool, so a credential of another slot does not open.
fn name_option(id: Uuid) -> String {
    format!("--name=keygate-{id}")
}

fn run(arguments: &[&str], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, SlotFailure> {
    let mut child = Command::new("systemd-creds")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SlotFailure::NoSystemdCreds,
            _ => SlotFailure::SystemdCreds(error.to_string()),
        })?;
    let output = converse(&mut child, input);
    // Reaped whatever happened above; the tool ends when its input does.
    let status = child.wait().map_err(|error| SlotFailure::SystemdCreds(error.to_string()))?;
    let (output, complaint) = output.map_err(|error| SlotFailure::SystemdCreds(error.to_string()))?;
    if status.success() { Ok(output) } else { Err(SlotFailure::SystemdCreds(complaint.trim().to_owned())) }
}

fn converse(child: &mut Child, input: &[u8]) -> io::Result<(Zeroizing<Vec<u8>>, String)> {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    // Reserved up front so that no reallocation leaves a copy of the secret behind.
    let mut output = Zeroizing::new(Vec::with_capacity(4096));
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut output)?;
    }
    let mut complaint = String::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(OUTPUT_BYTES_MAX).read_to_string(&mut complaint)?;
    }
    Ok((output, complaint))
}
