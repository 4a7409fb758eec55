//! Shares of a seal on their way out: to files, one for each officer, or once to a terminal.

use std::io::IsTerminal;

use super::{Failure, args::ShamirArguments, code};
use crate::{
    admin::{Recipients, SharesView, chain},
    data_dir::{make_dir, write_secret},
    seal::{SHARES_MAX, Sharing, officers},
};

/// What the arguments ask for. Everything that can be wrong is found before a slot is made: the folder is there, no file in it is
/// replaced, each recipient can be encrypted to.
pub(super) fn wanted(arguments: &ShamirArguments) -> Result<(u8, Recipients), Failure> {
    let usage = |text: &str| Failure::new(code::USAGE, text);
    let threshold = arguments.threshold.ok_or_else(|| usage("a shamir slot needs --threshold"))?;
    let (to, count) = match (&arguments.print, arguments.share_to.len()) {
        (Some(count), _) => (Recipients::Terminal(*count), usize::from(*count)),
        (None, 0) => return Err(usage("a shamir slot needs --share-to and --out, or --print")),
        (None, count) => (Recipients::Officers(arguments.share_to.clone()), count),
    };
    let sharing = u8::try_from(count).ok().and_then(|count| Sharing::new(threshold, count));
    if sharing.is_none() {
        return Err(usage(&format!("{threshold} of {count} shares: it must be 2 <= threshold <= shares <= {SHARES_MAX}")));
    }
    match &to {
        Recipients::Officers(texts) => {
            officers(texts).map_err(|error| Failure::new(code::USAGE, chain(&error)))?;
            let folder = arguments.share_out.as_ref().ok_or_else(|| usage("say with --out where the shares are written"))?;
            make_dir(folder)?;
            for number in 1..=count {
                let file = folder.join(file_name(number));
                if file.exists() {
                    let text = format!("{} exists already\nhint: name another folder with --out", file.display());
                    return Err(Failure::new(code::NAME, text));
                }
            }
        }
        Recipients::Terminal(_) if !std::io::stdout().is_terminal() => {
            return Err(usage("--print shows shares on a terminal only; encrypt them with --share-to"));
        }
        Recipients::Terminal(_) => {}
    }
    Ok((threshold, to))
}

fn file_name(number: usize) -> String {
    format!("share-{number}.age")
}

/// Writes the shares, or shows them. Says so in words, unless the command answers in JSON.
pub(super) fn hand_out(arguments: &ShamirArguments, shares: &SharesView, json: bool) -> Result<(), Failure> {
    let failed = |error: Failure| {
        let hint = format!("hint: shares are lost; remove seal slot {} and add it again", shares.slot);
        Failure::new(error.code, format!("{}\n{hint}", error.message))
    };
    let folder = arguments.share_out.as_deref();
    for (number, text) in shares.texts().iter().enumerate().map(|(place, text)| (place + 1, text)) {
        match folder {
            Some(folder) => {
                let file = folder.join(file_name(number));
                write_secret(&file, text.as_bytes()).map_err(|error| failed(error.into()))?;
                let officer = arguments.share_to.get(number - 1).map_or("", String::as_str);
                if !json {
                    println!("share {number} of {}: {}, for {officer}", shares.count(), file.display());
                }
            }
            None => println!("share {number} of {}: {text}", shares.count()),
        }
    }
    if !json {
        println!("{} of them open the slot; keep them apart, they are not kept here", shares.threshold);
    }
    Ok(())
}
