//! Answers of the admin API as text for people. With `--json` they are printed as they are.

use std::num::NonZeroU8;
use std::path::Path;

use keygate_pki::OffsetDateTime;
use serde::de::DeserializeOwned;
use serde_json::Value;
use time::UtcOffset;
use time::format_description::well_known::iso8601::{Config, TimePrecision};
use time::format_description::well_known::{Iso8601, Rfc3339};

use super::args::Via;
use crate::{
    api::{
        AdminView, AdminWithCertificate, AuditPage, AuthorityDetails, AuthorityRequest, CertificateDetails, Certificates, CreatedKeyView,
        KeyDetails, KeystoreStatus, KeystoreView, LeftView, LinkedRestUser, List, OrganisationView, RehomeView, RestUserView, ServiceView, StepView,
    },
    cli::{Failure, code, output::enabled, table::Table},
};

/// Prints JSON, or reads the answer and prints it by `show`.
fn print<T: DeserializeOwned>(via: &Via, answer: Value, show: impl FnOnce(T)) -> Result<(), Failure> {
    if via.json {
        println!("{answer}");
        return Ok(());
    }
    let read = serde_json::from_value(answer);
    show(read.map_err(|_| Failure::new(code::FAILED, "the server's answer is of another version: use --json"))?);
    Ok(())
}

pub(super) fn service(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |service: ServiceView| {
        println!("{}{}  organisation {}", service.state, since(service.since), service.organisation);
        line("reason", service.reason);
        println!("    public address: {}", service.public_url);
        let keys = service.keys;
        let (active, suspended, disabled, revoked) = (keys.active, keys.suspended, keys.disabled, keys.revoked);
        println!("    provisioning keys: {active} active, {suspended} suspended, {disabled} disabled, {revoked} revoked");
        line("warning", service.warning);
    })
}

pub(super) fn keys(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<KeyDetails>| {
        let mut table = Table::new(["ID", "STATE", "NAME", "CLIENTS", "VALID CERTIFICATES"]);
        for key in list.items {
            table.row([key.id.clone(), states(&key), key.name, key.clients.to_string(), key.valid_certificates.to_string()]);
        }
        table.print();
    })
}

pub(super) fn key(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |key: KeyDetails| show_key(&key))
}

/// A new key: its secret stands alone on standard output, or in `file`.
pub(super) fn created_key(via: &Via, answer: Value, file: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = file {
        key(via, answer)?;
        if !via.json {
            println!("secret written to {}", file.display());
        }
        return Ok(());
    }
    print(via, answer, |made: CreatedKeyView| {
        eprintln!("provisioning key \"{}\" ({}); its secret is shown this once:", made.key.name, made.key.id);
        println!("{}", made.secret);
    })
}

fn show_key(key: &KeyDetails) {
    println!("{}  {} since {}  {}", key.id, states(key), time(key.since), key.name);
    line("reason", key.reason.as_deref());
    line("told", key.told.as_deref());
    line("organisation", Some(&key.organisation));
    line("created", Some(time(key.created)));
    line("expires", key.limits.expires.map(time));
    let used = key.limits.uses.map_or_else(|| key.uses.to_string(), |max| format!("{} of {max}", key.uses));
    line("uses", Some(used));
    line("from", key.limits.from.as_deref());
    line("names", key.limits.names.as_deref());
    line("certificates", Some(format!("{} days; {} valid, of {} clients", key.limits.days, key.valid_certificates, key.clients)));
    line("successor", key.successor.as_deref());
    line("authorities", Some(key.authorities.join(", ")));
}

/// Its own state, and what counts where that is another.
fn states(key: &KeyDetails) -> String {
    if key.state == key.effective_state { key.state.clone() } else { format!("{} ({})", key.state, key.effective_state) }
}

pub(super) fn authorities(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<AuthorityDetails>| {
        let mut table = Table::new(["ID", "TIER", "GENERATION", "STAGE", "SINCE", "ALGORITHM", "KEY"]);
        for authority in list.items {
            let since = authority.since.map(time).unwrap_or_default();
            let (tier, stage, algorithm) = (authority.tier.clone(), authority.stage.clone(), authority.algorithm.clone());
            let generation = authority.generation.to_string();
            table.row_with([authority.id.clone(), tier, generation, stage, since, algorithm, key_of(&authority)], facts(&authority));
        }
        table.print();
    })
}

/// One CA; `with_text`: and its certificates in PEM.
pub(super) fn authority(via: &Via, answer: Value, with_text: bool) -> Result<(), Failure> {
    print(via, answer, |authority: AuthorityDetails| show_authority(&authority, with_text))
}

pub(super) fn removed_authority(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |authority: AuthorityDetails| println!("{}  removed, its key is destroyed", authority.id))
}

pub(super) fn authority_request(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |made: AuthorityRequest| {
        show_authority(&made.authority, false);
        print!("{}", made.request);
    })
}

fn show_authority(authority: &AuthorityDetails, with_text: bool) {
    let (tier, generation, stage, algorithm) = (&authority.tier, authority.generation, &authority.stage, &authority.algorithm);
    println!("{}  {tier} G{generation}  {stage}{}  {algorithm}  {}", authority.id, since(authority.since), key_of(authority));
    facts(authority).iter().for_each(|fact| println!("    {fact}"));
    for certificate in &authority.certificates {
        println!("certificate {}  {} to {}", certificate.serial, time(certificate.not_before), time(certificate.not_after));
        line("issuer", certificate.issuer.as_deref());
        if with_text {
            print!("{}", certificate.pem.as_deref().unwrap_or_default());
        }
    }
}

/// Where its key is.
fn key_of(authority: &AuthorityDetails) -> String {
    match (&authority.keystore, authority.key.as_str()) {
        (Some(name), _) => format!("key in keystore {name}"),
        (None, "store") => "key in the store".into(),
        (None, place) => format!("key {place}"),
    }
}

fn facts(authority: &AuthorityDetails) -> Vec<String> {
    let serials: Vec<_> = authority.certificates.iter().map(|held| held.serial.as_str()).collect();
    let revoked = authority.revoked.as_ref().map(|revoked| format!("{} since {}", revoked.reason, time(revoked.at)));
    let waits = (serials.is_empty() && authority.key != "destroyed").then(|| "its certificate, which is signed elsewhere".to_owned());
    let all = [
        ("subject", authority.subject.clone()),
        ("until", authority.not_after.map(time)),
        ("waits for", waits),
        ("serial numbers", Some(serials.join(", ")).filter(|serials| !serials.is_empty())),
        ("provisioning key", authority.provisioning_key.clone()),
        ("REVOKED", revoked),
    ];
    all.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?))).collect()
}

pub(super) fn certificates(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |page: Certificates| {
        let mut table = Table::new(["SERIAL", "STATE", "UNTIL", "SUBJECT", "NAMES"]);
        for found in page.items {
            table.row([found.serial, found.state, time(found.not_after), found.subject, found.names.join(", ")]);
        }
        table.print();
        more(page.next);
    })
}

/// One certificate; `with_text`: and its PEM.
pub(super) fn certificate(via: &Via, answer: Value, with_text: bool) -> Result<(), Failure> {
    print(via, answer, |found: CertificateDetails| {
        println!("{}  {}  {} to {}", found.serial, found.state, time(found.not_before), time(found.not_after));
        line("subject", Some(&found.subject));
        line("names", Some(found.names.join(", ")).filter(|names| !names.is_empty()));
        line("client", Some(&found.client));
        let key = found.key.map(|key| format!("{key} ({})", found.key_state.unwrap_or_default()));
        line("provisioning key", key);
        line("authority", Some(&found.authority));
        line("asked for from", found.source);
        line("sha256", Some(&found.sha256));
        line("REVOKED", found.revoked.map(|revoked| format!("{} since {}", revoked.reason, time(revoked.at))));
        if with_text {
            print!("{}", found.pem.unwrap_or_default());
        }
    })
}

pub(super) fn admins(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<AdminView>| {
        let mut table = Table::new(["ID", "STATE", "ROLE", "NAME", "ORGANISATION"]);
        for admin in list.items {
            let certificates = certificates_of(&admin);
            table.row_with([admin.id, enabled(!admin.disabled), admin.role, admin.name, admin.organisation], certificates);
        }
        table.print();
    })
}

pub(super) fn admin(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |changed: AdminWithCertificate| show_admin(&changed.admin))
}

pub(super) fn rest_users(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<RestUserView>| list.items.iter().for_each(show_rest_user))
}

pub(super) fn rest_user(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |linked: LinkedRestUser| show_rest_user(&linked.user))
}

/// A password that was made stands alone on standard output.
pub(super) fn new_rest_user(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |linked: LinkedRestUser| match &linked.password {
        None => show_rest_user(&linked.user),
        Some(password) => {
            let RestUserView { name, client, .. } = &linked.user;
            eprintln!("REST user \"{name}\" acts for client \"{client}\"; `keygate rest-user test-command {name}` tests it.");
            eprintln!("Its password is shown this once:");
            println!("{password}");
        }
    })
}

fn show_rest_user(user: &RestUserView) {
    let state = if user.disabled { "disabled" } else { "enabled" };
    println!("{}  {state}  {}  client {}  may {}", user.id, user.name, user.client, user.permissions.join(","));
}

pub(super) fn admin_with_certificate(via: &Via, answer: Value, not_after: &str, folder: Option<&Path>) -> Result<(), Failure> {
    print(via, answer, |made: AdminWithCertificate| {
        println!("administrator {} ({}), certificate until {not_after}", made.admin.name, made.admin.role);
        if let Some(folder) = folder {
            println!("written to {}", folder.display());
        }
    })
}

fn show_admin(admin: &AdminView) {
    println!("{}  {}  {}  {}  organisation {}", admin.id, enabled(!admin.disabled), admin.role, admin.name, admin.organisation);
    certificates_of(admin).iter().for_each(|certificate| println!("    {certificate}"));
}

fn certificates_of(admin: &AdminView) -> Vec<String> {
    let certificates = admin.certificates.iter();
    certificates.map(|certificate| format!("until {}  serial {}", time(certificate.not_after), certificate.serial)).collect()
}

pub(super) fn keystores(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<KeystoreView>| {
        let mut table = Table::new(["NAME", "KIND", "STATE", "SINCE", "DEFAULT", "OBJECTS", "MANAGED BY"]);
        for keystore in list.items {
            let default = if keystore.default { "default" } else { "" }.to_owned();
            let objects = keystore.objects.map(|count| count.to_string()).unwrap_or_default();
            let since = keystore.since.map(stamp).unwrap_or_default();
            table.row([keystore.name, keystore.kind, keystore.state, since, default, objects, keystore.managed_by]);
        }
        table.print();
    })
}

/// What has become of it, in one line.
pub(super) fn keystore_state(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |keystore: KeystoreView| keystore_line(&keystore))
}

pub(super) fn keystore(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |keystore: KeystoreView| {
        keystore_line(&keystore);
        for (key, value) in &keystore.settings {
            println!("    {key} = {value}");
        }
        line("secret", keystore.secret_since.map(|since| format!("sealed, since {}", stamp(since))));
        if let Some(test) = &keystore.test {
            line("tested", Some(format!("{} at {}", test.outcome, stamp(test.at))));
            test.steps.iter().for_each(|step| step_line(step, "    "));
        }
        keystore.warnings.iter().for_each(|warning| line("warning", Some(warning)));
    })
}

/// The last word is Success, or the command fails after this.
pub(super) fn keystore_test(via: &Via, answer: Value, repeat: &str) -> Result<(), Failure> {
    print(via, answer, |keystore: KeystoreView| {
        let Some(test) = &keystore.test else { return };
        test.steps.iter().for_each(|step| step_line(step, ""));
        // Never with --again: what is pasted must not lock a device.
        println!("the same again: {repeat}");
        if test.outcome == "success" {
            println!("Success");
        }
    })
}

pub(super) fn removed(via: &Via, answer: &Value, name: &str) {
    if via.json { println!("{answer}") } else { println!("keystore \"{name}\" is removed") }
}

pub(super) fn removed_rest_user(via: &Via, answer: &Value, name: &str) {
    if via.json { println!("{answer}") } else { println!("REST user \"{name}\" is removed; its client stays, with its keys") }
}

pub(super) fn keystore_statuses(via: &Via, all: Vec<Value>) -> Result<(), Failure> {
    print(via, serde_json::json!({ "items": all }), |all: List<KeystoreStatus>| {
        for status in all.items {
            println!("{}  {}  {}{}", status.name, status.state, status.health, status.reason.map_or_else(String::new, |reason| format!(": {reason}")));
            line("objects", status.objects.map(|count| count.to_string()));
            let sessions = status.sessions.map_or_else(String::new, |count| format!(", {count} sessions"));
            let queued = status.queued.map_or_else(String::new, |count| format!(", {count} queued"));
            line("calls", Some(format!("{}, {} under way{sessions}{queued}, generation {}", status.calls, status.calls_under_way, status.generation)));
            let workers = status.workers.map(|count| format!("{count} logged in, memory locked: {}", status.locked.as_deref().unwrap_or("not known")));
            line("workers", workers);
            let times = || format!("{} us on average lately, {} us at most", status.recent_us, status.longest_us);
            line("time of a call", (status.calls > 0).then(times));
            line("find cost", status.find_us.map(|micros| format!("{micros} us a look-up")));
            let failures: Vec<String> = status.failures.iter().map(|(class, count)| format!("{class} {count}")).collect();
            line("failures", Some(failures.join(", ")).filter(|failures| !failures.is_empty()));
            let failure = status.check_failure.map_or_else(|| "ok".to_owned(), |why| format!("FAILED: {why}"));
            let counts = format!("{} us, {} of {} failed", status.check_us, status.checks_failed, status.checks);
            line("last check", status.checked.map(|at| format!("{failure} at {} ({counts})", stamp(at))));
            line("last test", status.tested.map(|at| format!("{} at {}", status.test.unwrap_or_default(), stamp(at))));
            for member in &status.members {
                let reason = member.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                let tested = member.tested_seconds_ago.map_or_else(String::new, |age| format!(", self-test passed {age} s ago"));
                let differing = if member.differing > 0 { format!(", {} DIFFER", member.differing) } else { String::new() };
                let (name, state, keys, lacking) = (&member.name, &member.state, member.keys, member.lacking);
                line("member", Some(format!("{name} {state}{reason}, {keys} keys, {lacking} lacking{differing}{tested}")));
            }
            status.todo.iter().for_each(|todo| line("TO DO", Some(todo)));
        }
    })
}

pub(super) fn rehomes(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<RehomeView>| list.items.into_iter().for_each(rehome_report))
}

pub(super) fn rehome(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, rehome_report)
}

pub(super) fn rotation(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |view: RehomeView| {
        println!("rotation of the keyring: {}, {} of {} objects looked at, {} sealed again", view.state, view.seen, view.total, view.moved);
        left_report(view);
    })
}

fn rehome_report(view: RehomeView) {
    println!("{} to {}: {}, {} of {} keys looked at, {} moved", view.from, view.to, view.state, view.seen, view.total, view.moved);
    left_report(view);
}

fn left_report(view: RehomeView) {
    let show = |what: &str, list: &[LeftView]| {
        for LeftView { reason, count, examples } in list {
            let more = if *count > examples.len() as u64 { ", ..." } else { "" };
            println!("    {what} {count}: {reason} ({}{more})", examples.join(", "));
        }
    };
    show("kept", &view.kept);
    show("failed", &view.failed);
    line("stopped by", Some(view.trouble).filter(|trouble| !trouble.is_empty()));
}

fn keystore_line(keystore: &KeystoreView) {
    let default = if keystore.default { "  default" } else { "" };
    let objects = keystore.objects.map_or_else(String::new, |count| format!("  {count} objects"));
    println!("{}  {}  {}{}{default}{objects}  by the {}", keystore.name, keystore.kind, keystore.state, since(keystore.since), keystore.managed_by);
}

fn step_line(step: &StepView, indent: &str) {
    println!("{indent}{:<10}  {:<12}  {:>5} ms  {}", step.outcome, step.name, step.ms, step.text);
    if !step.hint.is_empty() {
        println!("{indent}            hint: {}", step.hint);
    }
}

pub(super) fn organisations(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |list: List<OrganisationView>| {
        let mut table = Table::new(["ID", "NAME"]);
        list.items.into_iter().for_each(|organisation| table.row([organisation.id, organisation.name]));
        table.print();
    })
}

pub(super) fn organisation(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |added: OrganisationView| println!("{}  {}", added.id, added.name))
}

pub(super) fn events(via: &Via, answer: Value) -> Result<(), Failure> {
    print(via, answer, |page: AuditPage| {
        let mut table = Table::new(["TIME", "ACTION", "OUTCOME", "ACTOR", "FROM", "OBJECT", "DETAILS"]);
        for event in page.items {
            let name = event.actor.name.or(event.actor.id).map_or_else(String::new, |name| format!(" {name}"));
            let (actor, from) = (event.actor.kind + &name, event.source.unwrap_or_default());
            table.row([stamp(event.at), event.action, event.outcome, actor, from, event.object.unwrap_or_default(), fields(&event.details)]);
        }
        table.print();
        more(page.next);
    })
}

fn fields(details: &Value) -> String {
    let field = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text:?}"),
        other => format!("{name}={other}"),
    };
    details.as_object().into_iter().flatten().map(field).collect::<Vec<_>>().join(" ")
}

fn more(next: Option<String>) {
    if let Some(next) = next {
        println!("more: --after {next}");
    }
}

fn line(name: &str, value: Option<impl AsRef<str>>) {
    if let Some(value) = value {
        println!("    {name}: {}", value.as_ref());
    }
}

fn since(moment: Option<OffsetDateTime>) -> String {
    moment.map(|moment| format!(" since {}", stamp(moment))).unwrap_or_default()
}

/// When something happened, in UTC, to the millisecond: always as long, so that columns and sorting hold.
fn stamp(moment: OffsetDateTime) -> String {
    const FORM: Iso8601<{ Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode() }> = Iso8601;
    moment.to_offset(UtcOffset::UTC).format(&FORM).unwrap_or_else(|_| moment.to_string())
}

fn time(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_else(|_| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Zeros at the end are a part of a time.
    #[test]
    fn times_are_all_as_long() {
        for (nanoseconds, written) in [(0, "2026-11-22T13:00:00.000Z"), (120_000_000, "2026-11-22T13:00:00.120Z")] {
            let moment = time::macros::datetime!(2026-11-22 14:00:00 +1).replace_nanosecond(nanoseconds).expect("a time");
            assert_eq!(stamp(moment), written);
        }
    }
}
