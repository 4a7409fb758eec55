//! ML-DSA and ML-KEM: published vectors, every form of a key, and what is refused. That another implementation (OpenSSL, in
//! kryoptic) agrees is seen by the conformance suite.

use crate::helpers::h;
use keygate_backends::local::{
    KeyKind, KeyMaterial, KeyValueForm, PairKind, PreparedKey, Role, decapsulate, encapsulate, generate_pair, hash, sign, verify,
};
use keygate_backends::{Class, Fault, MlDsa, MlKem, PairSpec, SignInput, SignatureScheme};
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, KeyFormatType as F};

/// The example keys of RFC 9935 appendix C, of the seed 00 01 02 ... 3f: how their public halves begin and end.
#[test]
fn ml_kem_key_of_a_seed() {
    let seed: Vec<u8> = (0..64).collect();
    for (set, begin, end) in [
        (MlKem::MlKem512, "", "344badd000f8d8c537c48f998f05307cebd1ede0b81c3bc59a065a1b6d63b26c"),
        (MlKem::MlKem768, "", "5e43481c3eeb397eb192505229b67a201ea893c3e2cb32da8bc342fa4dea0578"),
        (
            MlKem::MlKem1024,
            "4b94c29450111191823b3514c9ac1ea3d9825ccb86393a2dfb04654fa2192d37",
            "44b6c66984a868aa92fa02227a086950eb0c8701ed58dc628776b983882e1175",
        ),
    ] {
        let key = KeyMaterial::from_lattice_private(PairKind::MlKem(set), &seed).unwrap();
        let public = key.lattice_public().unwrap();
        assert!(public.starts_with(&h(begin)) && public.ends_with(&h(end)), "{set}: {}", hex::encode(public));
        // FIPS 203 algorithm 16: dk is dk_PKE, ek, H(ek) and z.
        let private = key.lattice_private().unwrap();
        let tail = [&public[..], &hash(H::Sha3_256, &public).unwrap(), &seed[32..]].concat();
        assert!(private.expanded.expose().ends_with(&tail), "{set}");
        assert_eq!(private.seed.unwrap().expose(), seed);
    }
}

/// The example keys of RFC 9881 appendix C, of the seed 00 01 02 ... 1f: how their public halves begin and end.
#[test]
fn ml_dsa_key_of_a_seed() {
    let seed: Vec<u8> = (0..32).collect();
    for (set, begin, end) in [
        (
            MlDsa::MlDsa44,
            "d7b2b47254aae0db45e7930d4a98d2c97d8f1397d1789dafa17024b316e9bec94fc9946d42f19b79a7413bbaa33e7149",
            "2202766151f16a965f9f81ece76cc070b55869e4db9784cf05c830b3242c8312",
        ),
        (
            MlDsa::MlDsa65,
            "48683d91978e31eb3dddb8b0473482d2b88a5f625949fd8f58a561e696bd4c27d05b38dbb2edf01e664efd81be1ea893",
            "ad18bd13fca55059dd9b185f79f9c47196a4e81b2104bc460a051e02f2e8444f",
        ),
        (MlDsa::MlDsa87, "9792bcec2f2430686a82fccf3c2f5ff665e771d7ab41b90258cfa7e90ec97124", ""),
    ] {
        let key = KeyMaterial::from_lattice_private(PairKind::MlDsa(set), &seed).unwrap();
        let public = key.lattice_public().unwrap();
        assert!(public.starts_with(&h(begin)) && public.ends_with(&h(end)), "{set}: {}", hex::encode(public));
        // FIPS 204 algorithm 24: sk begins with rho, as pk does.
        let private = key.lattice_private().unwrap();
        assert!(private.expanded.expose().starts_with(&public[..32]), "{set}");
        assert_eq!(private.seed.unwrap().expose(), seed);
    }
}

fn all() -> Vec<(PairSpec, PairKind, A)> {
    let dsa = MlDsa::ALL.map(|set| (PairSpec::MlDsa(set), PairKind::MlDsa(set), set.algorithm()));
    let kem = MlKem::ALL.map(|set| (PairSpec::MlKem(set), PairKind::MlKem(set), set.algorithm()));
    [&dsa[..], &kem].concat()
}

fn octets(key: &KeyMaterial, format: F) -> Vec<u8> {
    match key.to_form(format).unwrap() {
        KeyValueForm::Bytes(bytes) => bytes.expose().to_vec(),
        _ => panic!("octets"),
    }
}

/// An element of DER.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = u16::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &len, contents].concat()
}

/// Whether two keys are one: what one signs or encapsulates the other verifies or recovers.
fn belong_together(private: &KeyMaterial, public: &KeyMaterial) -> bool {
    let (private, public) = (PreparedKey::new(private).unwrap(), PreparedKey::new(public).unwrap());
    if let KeyKind::Private(PairKind::MlDsa(set)) = private.kind() {
        let signature = sign(&private, SignatureScheme::MlDsa, SignInput::Message(b"text")).unwrap();
        assert_eq!(signature.len(), set.signature_octets());
        return verify(&public, SignatureScheme::MlDsa, SignInput::Message(b"text"), &signature).unwrap();
    }
    let sent = encapsulate(&public).unwrap();
    decapsulate(&private, &sent.ciphertext).unwrap() == sent.secret
}

/// Every form that is written is read again, as the same key: seed, expanded, both, raw and encoded. A seed is kept as seed.
#[test]
fn forms() {
    for (spec, kind, algorithm) in all() {
        let (private, public) = generate_pair(&spec).unwrap();
        assert_eq!((private.kind(), public.kind()), (KeyKind::Private(kind), KeyKind::Public(kind)));
        assert!(belong_together(&private, &public));
        assert_eq!(private.public_half().unwrap().expose_canonical(), public.expose_canonical());
        let parts = private.lattice_private().unwrap();
        let (seed, expanded) = (parts.seed.unwrap(), parts.expanded);
        assert_eq!(octets(&private, F::Raw), seed.expose());
        assert!(private.expose_canonical().len() < 100, "{kind}: the seed alone");
        assert_eq!(octets(&public, F::Raw), public.lattice_public().unwrap());
        assert_eq!(private.bits().unwrap(), u32::try_from(public.lattice_public().unwrap().len() * 8).unwrap());

        let seedless = KeyMaterial::from_lattice_private(kind, expanded.expose()).unwrap();
        assert!(seedless.lattice_private().unwrap().seed.is_none() && belong_together(&seedless, &public));
        assert_eq!(octets(&seedless, F::Raw), expanded.expose());
        // The choice `both` of RFC 9881 and RFC 9935, which others write: it becomes the seed.
        let algorithm_identifier = &private.expose_canonical()[5..18];
        let of = |expanded: &[u8]| {
            let both = [&[0x04, u8::try_from(seed.len()).unwrap()][..], seed.expose(), &element(0x04, expanded)].concat();
            let key = element(0x04, &element(0x30, &both));
            element(0x30, &[&[2, 1, 0][..], algorithm_identifier, &key].concat())
        };
        let both = KeyMaterial::from_pkcs8(&of(expanded.expose())).unwrap();
        assert_eq!(both.expose_canonical(), private.expose_canonical(), "{kind}");
        let (other, _) = generate_pair(&spec).unwrap();
        let other = other.lattice_private().unwrap().expanded;
        assert!(KeyMaterial::from_pkcs8(&of(other.expose())).is_err(), "{kind}: a seed and another key");

        for (role, key, formats) in
            [(Role::Private, &private, [F::Pkcs8, F::Raw]), (Role::Private, &seedless, [F::Pkcs8, F::Raw]), (Role::Public, &public, [F::X509, F::Raw])]
        {
            for format in formats {
                let again = KeyMaterial::from_bytes(role, format, algorithm, None, &octets(key, format)).unwrap();
                assert_eq!(again.expose_canonical(), key.expose_canonical(), "{kind} {format}");
            }
        }
        // Under another name, as versions of KMIP that have no code would bring it in.
        let under = |algorithm| KeyMaterial::from_bytes(Role::Private, F::Pkcs8, algorithm, None, private.expose_canonical());
        assert_eq!(under(A::Ec).err().unwrap().class(), Class::BadInput(Fault::Key));
        assert!(private.to_form(F::TransparentEcPrivateKey).is_err() && public.to_form(F::Pkcs1).is_err());
    }
}

/// Lengths, other keys, halves, altered octets: refused, each in its own terms, and no panic.
#[test]
fn refusals() {
    let key = Class::BadInput(Fault::Key);
    for (spec, kind, _) in all() {
        let (private, public) = generate_pair(&spec).unwrap();
        let (expanded, point) = (private.lattice_private().unwrap().expanded, public.lattice_public().unwrap());
        for wrong in [&b""[..], &[1; 31], &[1; 33], &[1; 65], &expanded.expose()[1..]] {
            assert_eq!(KeyMaterial::from_lattice_private(kind, wrong).err().unwrap().class(), key, "{kind}");
        }
        for wrong in [&b""[..], &point[1..], &[&point[..], &[0]].concat()] {
            assert_eq!(KeyMaterial::from_lattice_public(kind, wrong).err().unwrap().class(), key, "{kind}");
        }
        for cut in [1, 10, 30, 50] {
            let der = private.expose_canonical();
            assert!(KeyMaterial::from_pkcs8(&der[..der.len() - cut]).is_err());
            assert!(KeyMaterial::from_pkcs8(&[der, &[0; 1][..]].concat()).is_err());
        }
        let (private, public) = (PreparedKey::new(&private).unwrap(), PreparedKey::new(&public).unwrap());
        let text = SignInput::Message(b"text");
        match kind {
            PairKind::MlDsa(_) => {
                assert_eq!(encapsulate(&public).err().unwrap().class(), key);
                assert_eq!(decapsulate(&private, &[0; 768]).err().unwrap().class(), key);
                assert_eq!(sign(&public, SignatureScheme::MlDsa, text).unwrap_err().class(), key);
                assert_eq!(sign(&private, SignatureScheme::Ed25519, text).unwrap_err().class(), key);
                let digest = sign(&private, SignatureScheme::MlDsa, SignInput::Digest(&[0; 32])).unwrap_err();
                assert_eq!(digest.class(), Class::Unsupported);
                for wrong in [&b""[..], &[0; 64], &[0xff; 5000]] {
                    assert!(!verify(&public, SignatureScheme::MlDsa, text, wrong).unwrap());
                }
            }
            _ => {
                assert_eq!(sign(&private, SignatureScheme::MlDsa, text).unwrap_err().class(), key);
                assert_eq!(decapsulate(&public, &[0; 768]).err().unwrap().class(), key);
                assert_eq!(decapsulate(&private, &[0; 767]).err().unwrap().class(), Class::BadInput(Fault::Data));
            }
        }
    }
    // FIPS 203 §7.2 modulus check: coefficients above q.
    let over = [0xff; 800];
    assert!(KeyMaterial::from_lattice_public(PairKind::MlKem(MlKem::MlKem512), &over).is_err());
    // FIPS 203 §7.3 hash check: the public half in an expanded key was altered.
    let (private, _) = generate_pair(&PairSpec::MlKem(MlKem::MlKem768)).unwrap();
    let mut expanded = private.lattice_private().unwrap().expanded.expose().to_vec();
    let last = expanded.len() - 40;
    expanded[last] ^= 1;
    assert!(KeyMaterial::from_lattice_private(PairKind::MlKem(MlKem::MlKem768), &expanded).is_err());
}
