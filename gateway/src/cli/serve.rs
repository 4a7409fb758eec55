//! `serve`, and the commands that open a data directory alone.

use std::{path::Path, sync::Arc, time::Duration};

use super::{
    Failure, code,
    args::{Config as ConfigCommand, Data, ServeArguments, StoreCommand},
};
use crate::{
    admin::{AdminError, AdminReply, chain},
    app::{self, App},
    audit::Actor,
    config::{Config, KeystoreConfig, SETTINGS},
    keystores::{FileError, files},
    data_dir::{DataDir, DataDirError, DataDirLock},
    store::Commit,
    telemetry::init_logs,
};

/// Longest wait for a process that is about to leave the data directory.
const LOCK_WAIT: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &ServeArguments) -> Result<(), Failure> {
    let wanted = &arguments.serve;
    let (dir, config) = load(&wanted.data.data_dir, &wanted.set)?;
    init_logs(&config.log);
    raise_open_files();
    let lock = dir.lock()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let wait = arguments.wait_for_unseal || config.seal_wait;
        let opened = app::unlock_or_wait(&dir, &config, wanted.data.passphrase.opening(), wait).await?;
        let Some((unsealed, events)) = opened else { return Ok(()) };
        let app = Arc::new(App::open(dir, lock, config, unsealed, false).await?);
        if !events.is_empty() {
            app.store.commit(Commit { events, ..Commit::default() }).await?;
        }
        let gateway = app::gateway(&app)?;
        let handler = Arc::new(app::front(&app, gateway.clone()));
        Ok(app::serve(app, gateway, handler).await?)
    });
    // Blocking calls that hang in a device must not hold the process up.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

pub(super) fn config(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(arguments) => {
            let (_, config) = load(&arguments.data.data_dir, &arguments.set)?;
            check_files(&config)?;
            let tokens = config.keystores.iter().filter_map(|keystore| match keystore {
                KeystoreConfig::Pkcs11(token) => Some(token.to_string()),
                KeystoreConfig::Group(group) => Some(group.to_string()),
                KeystoreConfig::Remote(server) => Some(server.to_string()),
                KeystoreConfig::Local { .. } => None,
            });
            let tokens: Vec<String> = tokens.collect();
            let endpoints: Vec<String> = config.notify.endpoints.iter().map(ToString::to_string).collect();
            if arguments.data.json {
                println!("{}", serde_json::json!({ "ok": true, "keystores": tokens, "endpoints": endpoints }));
            } else {
                // As they were understood: what was pasted may have meant something else.
                tokens.iter().chain(&endpoints).for_each(|line| println!("{line}"));
                println!("the settings are right");
            }
        }
        ConfigCommand::Settings => {
            for setting in SETTINGS {
                println!("{:<28} {:<16} {}", setting.name, setting.default, setting.meaning);
            }
        }
    }
    Ok(())
}

/// The files that keystores name: whoever runs this may read them, so what is wrong with a profile is told.
fn check_files(config: &Config) -> Result<(), Failure> {
    let told = |error: FileError| match &error {
        FileError::Profile { path, wrong } => format!("`profile`: {path}: {wrong}"),
        _ => chain(&error),
    };
    let wrong = config.keystores.iter().filter_map(|keystore| {
        let error = files::check(keystore).err()?;
        Some(format!("keystore.{}: {}", keystore.name(), told(error)))
    });
    let endpoints = config.notify.endpoints.iter().filter_map(|endpoint| {
        let error = files::client(&endpoint.trust, endpoint.identity.as_ref(), endpoint.server_name.as_deref()).err()?;
        Some(format!("endpoint.{}: {}", endpoint.client, chain(&error)))
    });
    let wrong: Vec<String> = wrong.chain(endpoints).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(code::USAGE, wrong.join("\n"))) }
}

pub(super) fn store(command: &StoreCommand) -> Result<(), Failure> {
    let StoreCommand::Accept(arguments) = command;
    let (dir, config) = load(&arguments.data.data_dir, &arguments.set)?;
    let lock = dir.lock()?;
    block_on(async {
        let app = open(dir, lock, config, &arguments.data, true).await?;
        for row in app.store.damage() {
            println!("refused from now on: {row}");
        }
        println!("accepted with {} managed objects", app.store.object_count());
        Ok(app.close().await?)
    })
}

/// The data directory with its rights checked, and its settings.
pub(super) fn load(path: &Path, set: &[String]) -> Result<(DataDir, Config), Failure> {
    let dir = DataDir::open(path)?;
    let config = Config::load(&dir.config(), set)?;
    Ok((dir, config))
}

/// Takes the lock, waiting a moment for a process that is leaving.
pub(super) fn lock_patiently(dir: &DataDir, mut meanwhile: impl FnMut() -> bool) -> Result<Option<DataDirLock>, Failure> {
    let begun = std::time::Instant::now();
    loop {
        match dir.lock() {
            Ok(lock) => return Ok(Some(lock)),
            Err(DataDirError::InUse(_)) if begun.elapsed() < LOCK_WAIT => {
                if meanwhile() {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Unlocks the seal and opens the store.
pub(super) async fn open(dir: DataDir, lock: DataDirLock, config: Config, data: &Data, accept: bool) -> Result<App, Failure> {
    let unsealed = app::unlock(&dir, data.passphrase.opening()).await?;
    Ok(App::open(dir, lock, config, unsealed, accept).await?)
}

/// Does what an administrator asks on a data directory that nobody serves. `with_objects`: it is about managed objects.
pub(super) fn do_alone(
    data: &Data,
    lock: DataDirLock,
    with_objects: bool,
    work: impl AsyncFnOnce(&App, &Actor) -> Result<AdminReply, AdminError>,
) -> Result<AdminReply, Failure> {
    let (dir, config) = load(&data.data_dir, &[])?;
    block_on(async {
        let app = open(dir, lock, config, data, false).await?;
        if with_objects {
            app::gateway(&app)?;
        }
        let actor = Actor::LocalUser(rustix::process::getuid().as_raw());
        let reply = work(&app, &actor).await;
        app.close().await?;
        Ok(reply?)
    })
}

/// Runs a command that serves nobody.
pub(super) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

/// Each connection takes two descriptors; the usual soft limit of 1,024 is less than the connections allowed.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}
