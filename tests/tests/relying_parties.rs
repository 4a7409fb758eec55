//! Goal: OpenSSL, GnuTLS, nginx and HAProxy follow the state of a provisioning key by plain CRLs and OCSP.
//! Method: a PKI made with keygate-pki and published over HTTP; every party is asked in every state.

use keygate_pki::SignatureAlgorithm;
use keygate_tests::pem;
use keygate_tests::relying::addresses::Numbers;
use keygate_tests::relying::openssl::Verify;
use keygate_tests::relying::own::OwnPki;
use keygate_tests::relying::source::{Act, StateSource as _};
use keygate_tests::relying::walk::walk;
use keygate_tests::relying::{RelyingParty as _, Trust, Verdict, parties};
use tempfile::tempdir;

fn pki(algorithm: SignatureAlgorithm) -> OwnPki {
    OwnPki::start(algorithm).expect("a PKI")
}

/// Active, suspended, disabled, enabled again, one client revoked, issuer renewed, key revoked; P-256 throughout.
#[test]
fn every_party_follows_every_state() {
    walk_with(SignatureAlgorithm::EcdsaP256Sha256);
}

/// The same with issuers of P-384.
#[test]
fn every_party_follows_every_state_of_a_p384_issuer() {
    walk_with(SignatureAlgorithm::EcdsaP384Sha384);
}

/// The same with issuers of RSA-3072.
#[test]
fn every_party_follows_every_state_of_an_rsa_issuer() {
    walk_with(SignatureAlgorithm::RsaPkcs1Sha256);
}

/// The same with issuers of Ed25519. (ML-DSA is left out: OpenSSL 3.0 and GnuTLS 3.7 cannot read it.)
#[test]
fn every_party_follows_every_state_of_an_ed25519_issuer() {
    walk_with(SignatureAlgorithm::Ed25519);
}

fn walk_with(algorithm: SignatureAlgorithm) {
    let folder = tempdir().expect("a folder");
    if let Err(error) = walk(&mut pki(algorithm), folder.path()) {
        panic!("{error}");
    }
}

/// The walk's own guard: a list with a lower number than one seen before, or the same number for another list, is noticed.
#[test]
fn a_number_that_goes_down_is_noticed() {
    let (mut pki, mut numbers) = (pki(SignatureAlgorithm::EcdsaP256Sha256), Numbers::default());
    let old = pki.trust().expect("lists").crls;
    numbers.note(&old).expect("first");
    numbers.note(&old).expect("the same lists");
    pki.apply(Act::Disable).expect("disabled");
    numbers.note(&pki.trust().expect("lists").crls).expect("newer");
    let refused = numbers.note(&old).expect_err("older");
    assert!(refused.to_string().contains("CRL number"), "{refused}");
}

/// The trap of a renewal with the same key: with one of two serial numbers listed, the chain through the other is accepted
/// by every party. Whoever revokes must list both.
#[test]
fn one_of_two_serial_numbers_is_not_enough() {
    let (folder, mut pki) = (tempdir().expect("a folder"), pki(SignatureAlgorithm::EcdsaP256Sha256));
    let old = pki.enrol("old").expect("enrolled");
    pki.apply(Act::RenewIssuer).expect("renewed");
    let new = pki.enrol("new").expect("enrolled");
    for (listed, verdicts) in [(&[0][..], [false, true]), (&[1], [true, false]), (&[0, 1], [false, false])] {
        pki.world().revoke_only(listed).expect("revoked");
        let trust = pki.trust().expect("lists");
        for party in parties() {
            for (device, accepted) in [&old, &new].into_iter().zip(verdicts) {
                let verdict = party.judge(folder.path(), &trust, device).expect("a verdict");
                assert_eq!(verdict.accepted(), accepted, "{} with {listed:?} listed: {verdict:?}", party.name());
                assert!(accepted || verdict.says_revoked(), "{}: {verdict:?}", party.name());
            }
        }
    }
}

/// A list that is missing or of another issuer is not a pass: OpenSSL and the servers on it refuse. GnuTLS accepts, which
/// is why it must be given every list.
#[test]
fn a_missing_list_is_refused_by_openssl_and_overlooked_by_gnutls() {
    let (folder, mut pki) = (tempdir().expect("a folder"), pki(SignatureAlgorithm::EcdsaP256Sha256));
    let device = pki.enrol("device").expect("enrolled");
    let all = pki.trust().expect("lists");
    let lists = pem::crls(&all.crls).expect("CRLs");
    // Without the lists of the key's CA, which are the last two.
    let crls = lists[..2].iter().map(|der| pem::encode(pem::CRL, der)).collect();
    let trust = Trust { crls, ..all };
    for party in parties() {
        let verdict = party.judge(folder.path(), &trust, &device).expect("a verdict");
        assert_eq!(verdict.accepted(), party.name() == "certtool", "{}: {verdict:?}", party.name());
        assert!(!verdict.says_revoked(), "{}: {verdict:?}", party.name());
    }
}

/// What leaf-only checking lets through: a client of a revoked key.
#[test]
fn who_checks_the_leaf_only_does_not_see_the_key_revoked() {
    let (folder, mut pki) = (tempdir().expect("a folder"), pki(SignatureAlgorithm::EcdsaP256Sha256));
    let device = pki.enrol("device").expect("enrolled");
    pki.apply(Act::RevokeKey).expect("revoked");
    let trust = pki.trust().expect("lists");
    let judge = |party: Verify| party.judge(folder.path(), &trust, &device).expect("a verdict");
    assert_eq!(judge(Verify::leaf_only()), Verdict::Accepted);
    assert!(judge(Verify::whole_chain()).says_revoked());
}
