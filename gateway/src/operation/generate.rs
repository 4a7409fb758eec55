//! temporary
use keygate_backends::{Held, KeyId, KeySpec, OpCx, PairSpec};
use keygate_kmip::*;
use super::{Exchange, OperationError};
use crate::authorize::Permit;
use crate::object::{AttributeSet, Material, key_block};
use crate::store::{Custody, KeystoreId};
/// pair
pub(super) struct NewPair {
    /// c
    pub custody: Custody,
    /// p
    pub private: Material,
    /// p
    pub public: ManagedObject,
    /// a
    pub algorithm: CryptographicAlgorithm,
    /// b
    pub bits: u32,
}
fn cx() -> OpCx { OpCx::within(std::time::Duration::from_secs(30)) }
/// s
pub(super) async fn symmetric(exchange: &mut Exchange<'_>, keystore: KeystoreId, algorithm: CryptographicAlgorithm, bits: u32) -> Result<(Custody, Material), OperationError> {
    let ks = exchange.gateway.keystores.get(keystore)?.clone();
    match ks.generate(KeyId::random()?, &KeySpec { algorithm, bits }, cx()).await? {
        Held::Material(m) => {
            let key_block = key_block::key_block_of(&m, None, ObjectType::SymmetricKey, algorithm, bits.cast_signed())?;
            Ok((Custody::Envelope, Material::Held(Box::new(ManagedObject::SymmetricKey(Key { key_block })))))
        }
        Held::Reference(r) => Ok((Custody::InBackend, Material::Referenced(r))),
    }
}
/// p
pub(super) async fn pair(exchange: &mut Exchange<'_>, keystore: KeystoreId, algorithm: CryptographicAlgorithm, bits: Option<u32>, curve: Option<RecommendedCurve>) -> Result<NewPair, OperationError> {
    let ks = exchange.gateway.keystores.get(keystore)?.clone();
    let spec = PairSpec::from_kmip(algorithm, bits, curve)?;
    let p = ks.generate_pair(KeyId::random()?, &spec, cx()).await?;
    let bits = p.public.bits()?;
    let public = key_block::public_key(&p.public, algorithm, bits)?;
    let (custody, private) = match p.private {
        Held::Material(m) => {
            let key_block = key_block::key_block_of(&m, None, ObjectType::PrivateKey, algorithm, bits.cast_signed())?;
            (Custody::Envelope, Material::Held(Box::new(ManagedObject::PrivateKey(Key { key_block }))))
        }
        Held::Reference(r) => (Custody::InBackend, Material::Referenced(r)),
    };
    Ok(NewPair { custody, private, public, algorithm, bits })
}
/// i
pub(super) async fn import(_: &mut Exchange<'_>, _: KeystoreId, object: ManagedObject, _: &AttributeSet) -> Result<(Custody, Material), OperationError> {
    Ok((Custody::Envelope, Material::Held(Box::new(object))))
}
/// d
pub(super) async fn destroy(_: &mut Exchange<'_>, _: &Permit) -> Result<(), OperationError> { Ok(()) }
