//! `init`: from nothing to a working deployment, without questions. Each step is skipped where an earlier, killed run has
//! done it; `keygate.toml` is written last and says that all of them are done.

use std::path::Path;

use keygate_pki::{Certificate, PrivateKey, Profile, SignatureAlgorithm, Signer, SubjectAltName};

use super::{
    Failure,
    args::{Credential, Init},
    code,
    files::{self, Making},
    serve::block_on,
    shares,
    slot::SlotArguments,
};
use crate::{
    admin::{self, AdminRequest, IssuedView},
    app::{self, App, PASSPHRASE_CREDENTIAL, SecretInput, Unsealed},
    audit::Actor,
    authority,
    config::{Config, FileConfig},
    data_dir::{DataDir, DataDirLock, make_dir, write_secret},
    provisioning::{AdminPatch, Deciding, NewAdminCertificate},
    seal::Seal,
    store::{AdminCertificate, OpenError, OrganisationId, Role, Store, StoreOptions},
};

pub(super) fn run(arguments: &Init) -> Result<(), Failure> {
    let dir = DataDir::create(&arguments.data.data_dir)?;
    if dir.is_initialised() {
        if arguments.if_needed {
            return Ok(());
        }
        return Err(Failure::new(code::NAME, format!("{} is initialised already", dir.path().display())));
    }
    let settings = settings(&arguments.host)?;
    let config = FileConfig::parse(&settings, &[])
        .map_err(|error| Failure::new(code::FAILED, error.to_string()))?
        .check()?;
    let lock = dir.lock()?;
    let passphrase = arguments.data.passphrase.inputs().into_iter().next().or_else(|| SecretInput::credential(PASSPHRASE_CREDENTIAL));
    let parse = || SlotArguments::parse(&arguments.seal, &arguments.token, &arguments.shamir, passphrase, "--passphrase");
    let slot = if Seal::exists(dir.path()) { None } else { Some(parse()?) };
    block_on(async {
        let unsealed = seal(&dir, arguments, slot).await?;
        let app = store(dir, lock, config, unsealed).await?;
        let actor = Actor::LocalUser(rustix::process::getuid().as_raw());
        authority::create_missing(&app.store, app.now(), &actor).await?;
        app.refresh_directory();
        authority::server_credential(&app.store, &app.config.tls_hosts, app.now()).await?;
        administrator(&app, &actor).await?;
        first_client(&app, &actor, &arguments.client).await?;
        app.close().await?;
        write_secret(&app.dir.config(), settings.as_bytes())?;
        report(&app, &arguments.client, &arguments.seal, arguments.data.json)
    })
}

/// The settings file: names of the server, and what can be changed.
fn settings(hosts: &[String]) -> Result<String, Failure> {
    for host in hosts {
        SubjectAltName::parse(host).map_err(|error| Failure::new(code::USAGE, error.to_string()))?;
    }
    let quoted: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!("hosts = [{}]\n", quoted.join(", ")) };
    Ok(format!(
        "# Settings of this gateway. `keygate config settings` lists all with their defaults, `keygate config check` checks them.\n\
         # No secrets belong here.\n\n[kmip]\n# listen = \"0.0.0.0:5696\"\n\n[status]\n# listen = \"127.0.0.1:9696\"\n\n\
         [tls]\n# Names and addresses in the server certificate.\n{hosts}\n[audit]\n# reads = \"wait\"\n\n[log]\n# format = \"human\"\n"
    ))
}

/// Makes the seal, or opens the one an earlier run has made.
async fn seal(dir: &DataDir, arguments: &Init, slot: Option<SlotArguments>) -> Result<Unsealed, Failure> {
    let Some(slot) = slot else {
        return Ok(app::unlock(dir, arguments.data.passphrase.opening()).await?);
    };
    let (path, slot) = (dir.path().to_owned(), slot.read()?);
    // Argon2id and tokens block, and a token's calls may not be made on the runtime.
    let made = tokio::task::spawn_blocking(move || slot.make(|new| Seal::create(&path, new))).await;
    let made = made.map_err(|error| Failure::new(code::FAILED, error.to_string()))?;
    let made = made.map_err(|error| Failure::new(code::SEALED, admin::chain(&error)))?;
    let ((seal, root), made) = made.take();
    let slots: Vec<_> = seal.status().iter().map(|slot| slot.id).collect();
    if let Some(shares) = made.shares(slots.first().copied().unwrap_or_default()) {
        shares::hand_out(&arguments.shamir, &shares, arguments.data.json)?;
    }
    if !arguments.data.json {
        for warning in seal.status().iter().filter_map(|slot| slot.warning) {
            println!("warning: {warning}");
        }
    }
    Ok(Unsealed::new(root, slots))
}

async fn store(dir: DataDir, lock: DataDirLock, config: Config, unsealed: Unsealed) -> Result<App, Failure> {
    let id = Seal::load(dir.path()).map_err(|error| Failure::new(code::SEALED, admin::chain(&error)))?.store_id();
    match Store::create(dir.path(), id, unsealed.root.clone(), StoreOptions::default()).await {
        Ok(store) => store.close().await?,
        Err(OpenError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(App::open(dir, lock, config, unsealed, false).await?)
}

/// Name of the first administrator.
const ADMIN: &str = "admin";

/// `D/admin`: the credential of the administrator "admin", from the authority that signs nothing else. An earlier run may have
/// recorded it without getting to write its files; it is given another certificate then.
async fn administrator(app: &App, actor: &Actor) -> Result<(), Failure> {
    let folder = app.dir.path().join("admin");
    // ca.pem is written last.
    if folder.join("ca.pem").exists() {
        return Ok(());
    }
    make_dir(&folder)?;
    let directory = app.store.directory();
    let key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256)?;
    let chain = authority::issue_leaf(&directory, Profile::AdminCertificate, ADMIN, key.public_key(), &[], None, app.now())?;
    record_administrator(app, actor, &chain).await?;
    let pems: Result<String, _> = chain.iter().map(Certificate::to_pem).collect();
    // The server certificate is verified by the root, whoever the client is.
    let ca = authority::certificate(&directory, Profile::RootCa)?.to_pem()?;
    let view = IssuedView { client: String::new(), name: "admin".into(), chain: pems?, ca, not_after: String::new() };
    files::write(&folder, &view, Some(&key))
}

async fn record_administrator(app: &App, actor: &Actor, chain: &[Certificate]) -> Result<(), Failure> {
    let by = Deciding { actor: actor.clone(), source: None };
    let leaf = chain.first().ok_or_else(|| Failure::new(code::FAILED, "no certificate was issued"))?;
    let certificate = NewAdminCertificate(AdminCertificate::of(leaf));
    match app.provisioning.admin(ADMIN) {
        Ok(_) => {
            let patch = AdminPatch { certificate: Some(certificate), ..AdminPatch::default() };
            app.provisioning.change_admin(&by, ADMIN, patch, None).await?;
        }
        Err(_) => {
            app.provisioning.add_admin(&by, OrganisationId::DEFAULT, ADMIN, Role::SecurityWrite, certificate).await?;
        }
    }
    Ok(())
}

/// `D/clients/NAME`: a client ready to use. An earlier run may have enrolled it without getting to write its files.
async fn first_client(app: &App, actor: &Actor, name: &str) -> Result<(), Failure> {
    let folder = app.dir.path().join("clients").join(name);
    if name.contains('/') || name.starts_with('.') || name.is_empty() {
        return Err(Failure::new(code::USAGE, format!("--client {name:?} is no folder name")));
    }
    // ca.pem is written last.
    if folder.join("ca.pem").exists() {
        return Ok(());
    }
    let arguments = Credential { out: Some(folder.clone()), csr: None, cert: None, days: None };
    let making = Making::begin(&arguments, &folder, true)?;
    let is_enrolled = app.store.directory().clients.values().any(|client| client.name == name);
    let name = name.to_owned();
    let request = if is_enrolled {
        AdminRequest::ClientRenew { name, credential: making.ask.clone() }
    } else {
        AdminRequest::ClientAdd { name, credential: making.ask.clone(), keystore: None }
    };
    let reply = admin::handle(app, actor, request).await?;
    making.write(reply).map(drop)
}

/// `seal`: the kind of the first slot.
fn report(app: &App, client: &str, seal: &str, json: bool) -> Result<(), Failure> {
    let path = app.dir.path();
    let credentials = path.join("clients").join(client);
    if json {
        let value = serde_json::json!({ "data_dir": path, "client": client, "credentials": credentials, "admin": path.join("admin") });
        println!("{value}");
        return Ok(());
    }
    println!("initialised {}", path.display());
    println!("client credentials: {}", credentials.display());
    println!("administrator credentials: {}", path.join("admin").display());
    let (program, path) = (program(), shell_word(path));
    let opening = match seal {
        "passphrase" => " --passphrase-file FILE",
        "shamir" => " --wait-for-unseal",
        _ => "",
    };
    println!("start it:      {program} serve --data-dir {path}{opening}");
    println!("then, as the client just made:");
    println!("create a key:  {program} kmip create --data-dir {path} --credentials {}", shell_word(&credentials));
    println!("fetch a key:   {program} kmip get --data-dir {path} --credentials {} ID", shell_word(&credentials));
    println!("or with any KMIP client: certificate, key and ca are in {}", credentials.display());
    Ok(())
}

/// How this program was called, so that the lines can be pasted.
fn program() -> String {
    std::env::args_os().next().map_or_else(|| "keygate".into(), |program| shell_word(Path::new(&program)))
}

fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
