//! Administrative commands: over the admin socket while a server runs, else alone on the data directory.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    Failure, api,
    args::{Audit, Cache, Client, Command, Credential, Data, Endpoint, Grant, Group, Keys, SealCommand, User},
    code,
    files::Making,
    output,
    serve::{block_on, do_alone, load, lock_patiently},
    shares,
    slot::SlotArguments,
};
use crate::{
    admin::{self, AdminReply, AdminRequest, ConnectError, GrantTarget, Password},
    app::{self, SecretInput},
    data_dir::DataDir,
};

/// Name of the systemd credential that holds the passphrase of a slot to be added.
const NEW_PASSPHRASE_CREDENTIAL: &str = "keygate-new-passphrase";

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Admin(command) => api::admin(command),
        Command::Audit(Audit::Search(wanted)) => api::search(&wanted),
        Command::Audit(Audit::Verify { data }) => verify(&data),
        Command::Ca(command) => api::authority(command),
        Command::Cache(Cache::Flush { data }) => flush(&data),
        Command::Cert(command) => api::certificate(command),
        Command::Client(command) => client(command),
        Command::Endpoint(command) => endpoint(command),
        Command::Grant(command) => grant(command),
        Command::Group(command) => group(command),
        Command::Keys(command) => keys(command),
        Command::Keystore(command) => api::keystore(command),
        Command::Organisation(command) => api::organisation(command),
        Command::ProvisioningKey(command) => api::key(command),
        Command::RestUser(command) => api::rest_user(command),
        Command::Seal(command) => seal(command),
        Command::Service(command) => api::service(command),
        Command::Backup(_)
        | Command::Config(_)
        | Command::Enrol(_)
        | Command::Export(_)
        | Command::Import(_)
        | Command::Init(_)
        | Command::Kmip(_)
        | Command::Pkcs11Worker
        | Command::Restore(_)
        | Command::Serve(_)
        | Command::Store(_)
        | Command::Unseal(_) => {
            Err(Failure::new(code::USAGE, "not an administrative command"))
        }
    }
}

fn verify(data: &Data) -> Result<(), Failure> {
    let reply = send(data, AdminRequest::AuditVerify)?;
    output::print(&reply, data.json);
    match reply {
        AdminReply::Audit { findings, .. } if !findings.is_empty() => {
            Err(Failure::new(code::NOT_INTACT, "the audit record is not intact"))
        }
        _ => Ok(()),
    }
}

/// Only a running server has anything in memory.
fn flush(data: &Data) -> Result<(), Failure> {
    let dir = DataDir::open(&data.data_dir)?;
    output::print(&admin::send(&dir.admin_socket(), &AdminRequest::CacheFlush)?, data.json);
    Ok(())
}

fn client(command: Client) -> Result<(), Failure> {
    match command {
        Client::Add { name, credential, keystore, data } => {
            credentials(&name, &credential, &data, false, |ask| AdminRequest::ClientAdd { name: name.clone(), credential: ask, keystore })
        }
        Client::Disable { name, data } => show(&data, AdminRequest::ClientDisable { name }),
        Client::Enable { name, data } => show(&data, AdminRequest::ClientEnable { name }),
        Client::Keystore { name, keystore, data } => show(&data, AdminRequest::ClientKeystore { name, keystore }),
        Client::List { data } => show(&data, AdminRequest::ClientList),
        Client::Renew { name, credential, data } => {
            credentials(&name, &credential, &data, true, |ask| AdminRequest::ClientRenew { name: name.clone(), credential: ask })
        }
        Client::User(command) => user(command),
    }
}

/// Makes or takes a credential and writes what comes of it.
fn credentials(
    name: &str,
    arguments: &Credential,
    data: &Data,
    overwrite: bool,
    build: impl FnOnce(admin::NewCredential) -> AdminRequest,
) -> Result<(), Failure> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    if arguments.out.is_none() && arguments.cert.is_none() && !plain {
        return Err(Failure::new(code::USAGE, "the name is no folder name; say where to write with --out"));
    }
    let folder = data.data_dir.join("clients").join(name);
    let making = Making::begin(arguments, &folder, overwrite)?;
    let reply = send(data, build(making.ask.clone()))?;
    let (view, folder) = making.write(reply)?;
    output::print_issued(&view, folder.as_deref(), data.json);
    Ok(())
}

fn user(command: User) -> Result<(), Failure> {
    match command {
        User::Add { client, user, password_file, password_fd, data } => {
            let input = password_file.map(SecretInput::File).or(password_fd.map(SecretInput::Descriptor));
            let input = input.ok_or_else(|| Failure::new(code::USAGE, "give the password by file or file descriptor"))?;
            let secret = input.read()?;
            let text = std::str::from_utf8(secret.expose()).map_err(|_| Failure::new(code::USAGE, "the password is not UTF-8"))?;
            show(&data, AdminRequest::UserAdd { client, user, password: Password(text.to_owned()) })
        }
        User::List { client, data } => show(&data, AdminRequest::UserList { client }),
        User::Remove { client, user, data } => show(&data, AdminRequest::UserRemove { client, user }),
    }
}

fn endpoint(command: Endpoint) -> Result<(), Failure> {
    match command {
        Endpoint::List { data } => show(&data, AdminRequest::EndpointList),
        Endpoint::Query { client, functions, data } => show(&data, AdminRequest::EndpointQuery { client, functions }),
        Endpoint::Versions { client, data } => show(&data, AdminRequest::EndpointVersions { client }),
    }
}

fn grant(command: Grant) -> Result<(), Failure> {
    match command {
        Grant::Add { object, owner, to, operations, data } => {
            let target = match (object, owner) {
                (Some(object), _) => GrantTarget::Object(object),
                (None, Some(owner)) => GrantTarget::Owner(owner),
                (None, None) => return Err(Failure::new(code::USAGE, "name an object, or --owner")),
            };
            show(&data, AdminRequest::GrantAdd { target, to, operations })
        }
        Grant::List { data } => show(&data, AdminRequest::GrantList),
        Grant::Remove { id, data } => show(&data, AdminRequest::GrantRemove { id }),
    }
}

fn group(command: Group) -> Result<(), Failure> {
    match command {
        Group::Add { name, member, data } => show(&data, AdminRequest::GroupAdd { name, members: member }),
        Group::List { data } => show(&data, AdminRequest::GroupList),
        Group::Remove { name, member, data } => show(&data, AdminRequest::GroupRemove { name, members: member }),
    }
}

fn keys(command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Chown { id, to, data } => show(&data, AdminRequest::KeysChown { id, to }),
        Keys::Moves { via } => api::moves(&via),
        Keys::Rehome(wanted) => api::rehome(&wanted),
        Keys::List { owner, after, limit, data } => show(&data, AdminRequest::KeysList { owner, after, limit }),
        Keys::Show { id, data } => show(&data, AdminRequest::KeysShow { id }),
    }
}

fn seal(command: SealCommand) -> Result<(), Failure> {
    match command {
        SealCommand::Status { data } => show(&data, AdminRequest::SealStatus),
        SealCommand::Add { kind, token, shamir, new_passphrase_file, new_passphrase_fd, data } => {
            let given = new_passphrase_file.map(SecretInput::File).or(new_passphrase_fd.map(SecretInput::Descriptor));
            let passphrase = given.or_else(|| SecretInput::credential(NEW_PASSPHRASE_CREDENTIAL));
            let slot = SlotArguments::parse(&kind, &token, &shamir, passphrase, "--new-passphrase")?.read()?;
            let mut reply = send(&data, AdminRequest::SealAdd { slot })?;
            let dealt = match &mut reply {
                AdminReply::Seal(view) => view.shares.take(),
                _ => None,
            };
            output::print(&reply, data.json);
            dealt.map_or(Ok(()), |dealt| shares::hand_out(&shamir, &dealt, data.json))
        }
        SealCommand::Policy { needed, data } => {
            let inputs = data.passphrase.inputs();
            let passphrases = inputs.iter().map(|input| Ok(Password(STANDARD.encode(input.read()?.expose()))));
            let passphrases = passphrases.collect::<Result<_, Failure>>()?;
            show(&data, AdminRequest::SealPolicy { needed, passphrases })
        }
        SealCommand::Remove { id, data } => show(&data, AdminRequest::SealRemove { id }),
        SealCommand::Rotate(wanted) => api::rotate(&wanted),
    }
}

/// A rotation from its start to its end in one request: where nobody is served, or no job can be given to the server.
pub(super) fn rotate_at_once(data: &Data) -> Result<(), Failure> {
    let reply = send(data, AdminRequest::SealRotate)?;
    output::print(&reply, data.json);
    match reply {
        AdminReply::Rotated(rotated) if !rotated.done => {
            Err(Failure::new(code::FAILED, "older terms stay: some rows under them do not open, or changed all the time"))
        }
        _ => Ok(()),
    }
}

fn show(data: &Data, request: AdminRequest) -> Result<(), Failure> {
    output::print(&send(data, request)?, data.json);
    Ok(())
}

/// Asks the running server, or does it here where none runs.
pub(super) fn send(data: &Data, request: AdminRequest) -> Result<AdminReply, Failure> {
    let dir = DataDir::open(&data.data_dir)?;
    let socket = dir.admin_socket();
    match admin::send(&socket, &request) {
        Err(ConnectError::NotRunning) => {}
        answered => return Ok(answered?),
    }
    // A server that is starting has the lock before it has its socket.
    match lock_patiently(&dir, || is_served(&socket))? {
        None => Ok(admin::send(&socket, &request)?),
        // Looks without writing: a start would link a segment of its own to whatever is there, or refuse the database as a whole.
        Some(_lock) if matches!(request, AdminRequest::AuditVerify) => {
            let (dir, _) = load(&data.data_dir, &[])?;
            block_on(async {
                let unsealed = app::unlock(&dir, data.passphrase.opening()).await?;
                Ok(app::verify_audit(&dir, &unsealed.root).await?.into())
            })
        }
        Some(lock) => {
            let with_objects = request.is_about_objects();
            do_alone(data, lock, with_objects, async |app, actor| admin::handle(app, actor, request).await)
        }
    }
}

pub(super) fn is_served(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
