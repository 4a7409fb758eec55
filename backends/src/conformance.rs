//! One suite that every keystore passes.
//!
//! [`check`] panics at the first thing that is not as the contract says. What a keystore's capabilities claim must
//! work; what they do not claim must be answered `Unsupported`. Results are compared with the software cryptography of
//! [`crate::local`], itself tested against published vectors. Everything that the suite makes it destroys.

use crate::error::{Class, Fault, KsError};
use crate::key::{Held, Key, KeyCheck, KeyClass, KeyId, KeyRef, KeySpec, PairSpec};
use crate::keystore::{Capabilities, Custody, Keystore, OpCx};
use crate::lattice::{MlDsa, MlKem, SHARED_SECRET_OCTETS};
use crate::local::{self, KeyMaterial, PairKind, PreparedKey};
use crate::operation::{
    BlockPadding, CryptoOp, CryptoOut, DecryptOp, EncryptOp, Encrypted, EncryptionScheme as S, Iv, MacScheme,
    SignInput, SignatureScheme,
};
use crate::secret::SecretBytes;
use keygate_kmip::{CryptographicAlgorithm as A, HashingAlgorithm as H, RecommendedCurve as C};
use std::time::{Duration, Instant};

/// Runs the whole suite.
pub async fn check(keystore: &dyn Keystore) {
    let suite =
        Suite { can: keystore.probe(cx()).await.expect("probe").can, custody: keystore.descriptor().custody, keystore };
    assert_eq!(keystore.descriptor().can, suite.can, "the descriptor remembers the probe");
    suite.aes().await;
    suite.aes_imported().await;
    suite.macs().await;
    suite.rsa().await;
    suite.ec().await;
    suite.ml_dsa().await;
    suite.ml_kem().await;
    suite.random().await;
    suite.life_of_a_key().await;
    suite.bad_input().await;
    suite.deadlines().await;
    assert!(keystore.list(cx()).await.expect("list").is_empty(), "the suite leaves nothing behind");
}

fn cx() -> OpCx {
    OpCx::within(Duration::from_secs(60))
}

struct Suite<'k> {
    keystore: &'k dyn Keystore,
    can: Capabilities,
    custody: Custody,
}

/// A key of the suite, by whichever custody.
enum Usable {
    Material(Box<PreparedKey>),
    Reference(KeyRef),
}

impl Usable {
    fn key(&self) -> Key<'_> {
        match self {
            Self::Material(key) => Key::Material(key),
            Self::Reference(key) => Key::Reference(key),
        }
    }
}

impl Suite<'_> {
    fn usable(&self, id: KeyId, held: Held) -> Usable {
        match held {
            Held::Material(material) => {
                assert_eq!(self.custody, Custody::Envelope);
                Usable::Material(Box::new(PreparedKey::new(&material).expect("what was made can be parsed")))
            }
            Held::Reference(key) => {
                assert_eq!((self.custody, key.id), (Custody::InBackend, id));
                Usable::Reference(key)
            }
        }
    }

    /// Does it if the keystore claims to, else sees it refused.
    fn expect<T>(&self, claimed: bool, what: &str, result: Result<T, KsError>) -> Option<T> {
        match result {
            Ok(value) => {
                assert!(claimed, "{what} works though it is not claimed");
                Some(value)
            }
            Err(e) => {
                assert!(!claimed, "{what} is claimed: {e}");
                assert_eq!(e.class(), Class::Unsupported, "{what}: {e}");
                None
            }
        }
    }

    async fn done_with(&self, id: KeyId) {
        match self.keystore.destroy(id, cx()).await {
            Ok(()) => assert_eq!(self.custody, Custody::InBackend),
            Err(e) => assert_eq!((self.custody, e.class()), (Custody::Envelope, Class::NotFound), "{e}"),
        }
    }

    async fn encrypt(
        &self,
        key: &Usable,
        scheme: &S,
        iv: Iv<'_>,
        aad: &[u8],
        data: &[u8],
    ) -> Result<Encrypted, KsError> {
        match self
            .keystore
            .crypto(key.key(), CryptoOp::Encrypt(EncryptOp { scheme, iv, aad, data, legacy: false }), cx())
            .await?
        {
            CryptoOut::Encrypted(encrypted) => Ok(encrypted),
            _ => panic!("an encryption answers with a cipher text"),
        }
    }

    async fn decrypt(
        &self,
        key: &Usable,
        scheme: &S,
        iv: &[u8],
        aad: &[u8],
        sealed: &Encrypted,
    ) -> Result<SecretBytes, KsError> {
        let op = DecryptOp { scheme, iv, aad, data: &sealed.data, tag: sealed.tag.as_deref() };
        match self.keystore.crypto(key.key(), CryptoOp::Decrypt(op), cx()).await? {
            CryptoOut::Decrypted(plain) => Ok(plain),
            _ => panic!("a decryption answers with a plain text"),
        }
    }

    async fn sign(&self, key: &Usable, scheme: SignatureScheme, input: SignInput<'_>) -> Result<Vec<u8>, KsError> {
        match self.keystore.crypto(key.key(), CryptoOp::Sign(scheme, input), cx()).await? {
            CryptoOut::Signature(signature) => Ok(signature),
            _ => panic!("a signature answers with a signature"),
        }
    }

    async fn mac(&self, key: &Usable, scheme: MacScheme, data: &[u8]) -> Result<Vec<u8>, KsError> {
        match self.keystore.crypto(key.key(), CryptoOp::Mac { scheme, iv: b"", data }, cx()).await? {
            CryptoOut::Mac(mac) => Ok(mac),
            _ => panic!("a MAC answers with a MAC"),
        }
    }

    async fn aes(&self) {
        for bits in [128, 192, 256] {
            let id = fresh();
            let made = self.keystore.generate(id, &KeySpec { algorithm: A::Aes, bits }, cx()).await;
            let Some(held) = self.expect(self.can.generate_aes, "generating AES", made) else { return };
            let key = self.usable(id, held);
            for (scheme, claimed, data) in self.aes_schemes() {
                let sealed = self.encrypt(&key, &scheme, Iv::Random { len: None }, b"", data).await;
                let Some(sealed) = self.expect(claimed, &format!("{scheme:?}"), sealed) else { continue };
                let iv = sealed.iv.clone().unwrap_or_default();
                let plain = self.decrypt(&key, &scheme, &iv, b"", &sealed).await.expect("decrypts what it encrypted");
                assert_eq!(plain.expose(), data, "{scheme:?}");
                self.altered(&key, &scheme, &iv, &sealed).await;
            }
            self.done_with(id).await;
        }
    }

    fn aes_schemes(&self) -> Vec<(S, bool, &'static [u8])> {
        let odd: &[u8] = b"seventeen octets!";
        let whole: &[u8] = b"thirty-two octets, two AES blocks";
        let whole = &whole[..32];
        vec![
            (S::Ecb(BlockPadding::None), self.can.aes_ecb, whole),
            (S::Ecb(BlockPadding::Pkcs5), self.can.aes_ecb, odd),
            (S::Cbc(BlockPadding::None), self.can.aes_cbc, whole),
            (S::Cbc(BlockPadding::Pkcs5), self.can.aes_cbc, whole),
            (S::Cbc(BlockPadding::AnsiX923), self.can.aes_cbc, odd),
            (S::Cbc(BlockPadding::Iso10126), self.can.aes_cbc, odd),
            (S::Cbc(BlockPadding::Zeros), self.can.aes_cbc, odd),
            (S::Ctr, self.can.aes_ctr, odd),
            (S::Gcm { tag_len: 16 }, self.can.aes_gcm, odd),
            (S::Gcm { tag_len: 12 }, self.can.aes_gcm, odd),
            (S::KeyWrap, self.can.aes_key_wrap, whole),
        ]
    }

    /// Authenticated schemes see an altered text.
    async fn altered(&self, key: &Usable, scheme: &S, iv: &[u8], sealed: &Encrypted) {
        if !scheme.is_aead() && *scheme != S::KeyWrap {
            return;
        }
        let mut altered = sealed.clone();
        altered.data[0] ^= 1;
        let error = self.decrypt(key, scheme, iv, b"", &altered).await.expect_err("an altered text is refused");
        assert_eq!(error.class(), Class::BadInput(Fault::Integrity), "{scheme:?}: {error}");
    }

    /// A key that the suite knows: results are those of the software cryptography.
    async fn aes_imported(&self) {
        let bytes = SecretBytes::new((0..32).collect());
        let known = KeyMaterial::symmetric(A::Aes, bytes).expect("32 octets");
        let reference = PreparedKey::new(&known).expect("parsed once more");
        let id = fresh();
        let Some(held) = self.expect(self.can.import, "importing AES", self.keystore.import(id, &known, cx()).await)
        else {
            return;
        };
        if let Held::Reference(key) = &held {
            // The check value that the token may offer is the encryption of a zero block.
            let zero = EncryptOp {
                scheme: &S::Ecb(BlockPadding::None),
                iv: Iv::Given(b""),
                aad: b"",
                data: &[0; 16],
                legacy: false,
            };
            let block = local::encrypt(&reference, &zero).expect("one block").data;
            assert!(
                matches!(key.check, KeyCheck::Kcv(kcv) if kcv == block[..3]) || key.check == KeyCheck::None,
                "{:?}",
                key.check
            );
        }
        let key = self.usable(id, held);
        for (scheme, claimed, data) in self.aes_schemes() {
            let random = matches!(scheme, S::Cbc(BlockPadding::Iso10126));
            if !claimed || random {
                continue;
            }
            let aad: &[u8] = if scheme.is_aead() { b"bound" } else { b"" };
            let iv = vec![0x5a; local::iv_len(known.kind(), &scheme)];
            // A keystore may do the second use of a key in another way than the first.
            for _ in 0..3 {
                let ours = self.encrypt(&key, &scheme, Iv::Given(&iv), aad, data).await.expect("claimed");
                let op = EncryptOp { scheme: &scheme, iv: Iv::Given(&iv), aad, data, legacy: false };
                assert_eq!(ours, local::encrypt(&reference, &op).expect("software does all"), "{scheme:?}");
                let plain = self.decrypt(&key, &scheme, &iv, aad, &ours).await.expect("decrypts what it encrypted");
                assert_eq!(plain.expose(), data, "{scheme:?}");
            }
        }
        self.done_with(id).await;
    }

    async fn macs(&self) {
        // RFC 4231 test case 6: tokens refuse the short keys of the others.
        let known = KeyMaterial::symmetric(A::HmacSha256, SecretBytes::new(vec![0xaa; 131])).expect("any length");
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        let id = fresh();
        if let Some(held) = self.expect(
            self.can.import && self.can.hmac,
            "importing HMAC",
            self.keystore.import(id, &known, cx()).await,
        ) {
            let key = self.usable(id, held);
            let mac = self.mac(&key, MacScheme::Hmac(H::Sha256), data).await.expect("HMAC is claimed");
            assert_eq!(hex::encode(mac), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
            self.done_with(id).await;
        }
        let id = fresh();
        let made = self.keystore.generate(id, &KeySpec { algorithm: A::HmacSha512, bits: 512 }, cx()).await;
        if let Some(held) = self.expect(self.can.generate_hmac, "generating HMAC", made) {
            let key = self.usable(id, held);
            let mac = self.mac(&key, MacScheme::Hmac(H::Sha512), data).await.expect("HMAC is claimed");
            assert_eq!(mac.len(), 64);
            assert_eq!(mac, self.mac(&key, MacScheme::Hmac(H::Sha512), data).await.expect("again"));
            self.done_with(id).await;
        }
    }

    /// A key that was just made in the backend is found and is itself.
    async fn found(&self, key: &Usable) {
        if let Usable::Reference(key) = key {
            let info = self.keystore.info(key, cx()).await.expect("it is there");
            assert_eq!((info.id, info.class), (key.id, key.class));
        }
    }

    async fn rsa(&self) {
        let id = fresh();
        let made = self.keystore.generate_pair(id, &PairSpec::Rsa { bits: 2048 }, cx()).await;
        if let Some(pair) = self.expect(self.can.generate_rsa, "generating RSA", made) {
            let private = self.usable(id, pair.private);
            self.found(&private).await;
            self.rsa_use(&private, &PreparedKey::new(&pair.public).expect("public half")).await;
            self.done_with(id).await;
        }
        let (private, public) = local::generate_pair(&PairSpec::Rsa { bits: 2048 }).expect("RSA in software");
        let id = fresh();
        if let Some(held) =
            self.expect(self.can.import, "importing RSA", self.keystore.import(id, &private, cx()).await)
        {
            let private = self.usable(id, held);
            self.rsa_use(&private, &PreparedKey::new(&public).expect("public half")).await;
            self.done_with(id).await;
        }
    }

    async fn rsa_use(&self, private: &Usable, public: &PreparedKey) {
        for (scheme, claimed) in [
            (SignatureScheme::RsaPkcs1(H::Sha1), self.can.sign_rsa_pkcs1),
            (SignatureScheme::RsaPkcs1(H::Sha256), self.can.sign_rsa_pkcs1),
            (SignatureScheme::RsaPkcs1(H::Sha512), self.can.sign_rsa_pkcs1),
            (SignatureScheme::RsaPss { hash: H::Sha256, mgf_hash: H::Sha256, salt_len: None }, self.can.sign_rsa_pss),
            (
                SignatureScheme::RsaPss { hash: H::Sha384, mgf_hash: H::Sha384, salt_len: Some(20) },
                self.can.sign_rsa_pss,
            ),
        ] {
            self.signature(private, public, scheme, claimed).await;
        }
        let oaep = S::RsaOaep { hash: H::Sha1, mgf_hash: H::Sha1, label: Vec::new() };
        for (scheme, claimed) in [(S::RsaPkcs1, self.can.decrypt_rsa_pkcs1), (oaep, self.can.decrypt_rsa_oaep)] {
            let op = EncryptOp {
                scheme: &scheme,
                iv: Iv::Given(b""),
                aad: b"",
                data: b"to the private half",
                legacy: false,
            };
            let mut sealed = local::encrypt(public, &op).expect("RSA in software");
            let opened = self.decrypt(private, &scheme, b"", b"", &sealed).await;
            let Some(plain) = self.expect(claimed, &format!("{scheme:?}"), opened) else { continue };
            assert_eq!(plain.expose(), b"to the private half");
            sealed.data[7] ^= 1;
            // Implicit rejection may hand out rubbish instead; either tells an attacker nothing.
            match self.decrypt(private, &scheme, b"", b"", &sealed).await {
                Ok(plain) => assert_ne!(plain.expose(), b"to the private half"),
                Err(e) => assert_eq!(e.class(), Class::BadInput(Fault::Integrity), "{scheme:?}: {e}"),
            }
        }
    }

    async fn ec(&self) {
        for curve in [C::P256, C::P384, C::P521] {
            let id = fresh();
            let made = self.keystore.generate_pair(id, &PairSpec::Ec { curve }, cx()).await;
            let Some(pair) = self.expect(self.can.generate_ec, "generating EC", made) else { return };
            let private = self.usable(id, pair.private);
            self.found(&private).await;
            self.ec_use(&private, &pair.public).await;
            self.done_with(id).await;
            let (private, public) = local::generate_pair(&PairSpec::Ec { curve }).expect("EC in software");
            let id = fresh();
            if let Some(held) =
                self.expect(self.can.import, "importing EC", self.keystore.import(id, &private, cx()).await)
            {
                self.ec_use(&self.usable(id, held), &public).await;
                self.done_with(id).await;
            }
        }
    }

    async fn ec_use(&self, private: &Usable, public: &KeyMaterial) {
        let public = PreparedKey::new(public).expect("public half");
        for hash in [H::Sha1, H::Sha256, H::Sha512] {
            self.signature(private, &public, SignatureScheme::Ecdsa(hash), self.can.sign_ecdsa).await;
        }
    }

    async fn signature(&self, private: &Usable, public: &PreparedKey, scheme: SignatureScheme, claimed: bool) {
        let made = self.sign(private, scheme, SignInput::Message(b"message")).await;
        let Some(signature) = self.expect(claimed, &format!("{scheme:?}"), made) else { return };
        assert!(
            local::verify(public, scheme, SignInput::Message(b"message"), &signature).expect("verifies"),
            "{scheme:?}"
        );
        let digest = local::hash(scheme.hash().expect("these schemes hash"), b"message").expect("hash");
        let signature = self.sign(private, scheme, SignInput::Digest(&digest)).await.expect("signs a digest as well");
        assert!(
            local::verify(public, scheme, SignInput::Message(b"message"), &signature).expect("verifies"),
            "{scheme:?}"
        );
        let error =
            self.sign(private, scheme, SignInput::Digest(&digest[1..])).await.expect_err("a short digest is refused");
        assert_eq!(error.class(), Class::BadInput(Fault::Data), "{error}");
    }

    async fn ml_dsa(&self) {
        for set in MlDsa::ALL {
            let id = fresh();
            let made = self.keystore.generate_pair(id, &PairSpec::MlDsa(set), cx()).await;
            let Some(pair) = self.expect(self.can.generate_ml_dsa, "generating ML-DSA", made) else { return };
            let private = self.usable(id, pair.private);
            self.found(&private).await;
            self.ml_dsa_use(&private, &pair.public).await;
            self.done_with(id).await;
            let (known, public) = local::generate_pair(&PairSpec::MlDsa(set)).expect("ML-DSA in software");
            let expanded = known.lattice_private().expect("a private key").expanded;
            let seedless = KeyMaterial::from_lattice_private(PairKind::MlDsa(set), expanded.expose()).expect("parsed");
            for known in [known, seedless] {
                let id = fresh();
                let taken = self.keystore.import(id, &known, cx()).await;
                let Some(held) = self.expect(self.can.import, "importing ML-DSA", taken) else { return };
                self.ml_dsa_use(&self.usable(id, held), &public).await;
                self.done_with(id).await;
            }
        }
    }

    async fn ml_dsa_use(&self, private: &Usable, public: &KeyMaterial) {
        let public = PreparedKey::new(public).expect("public half");
        for message in [&b"message"[..], b"", &[7; 5000]] {
            let input = SignInput::Message(message);
            let made = self.sign(private, SignatureScheme::MlDsa, input).await;
            let Some(signature) = self.expect(self.can.sign_ml_dsa, "ML-DSA", made) else { return };
            assert!(local::verify(&public, SignatureScheme::MlDsa, input, &signature).expect("verifies"));
            let other = SignInput::Message(b"another");
            assert!(!local::verify(&public, SignatureScheme::MlDsa, other, &signature).expect("is refused"));
        }
        let digest = self.sign(private, SignatureScheme::MlDsa, SignInput::Digest(&[0; 32])).await.expect_err("refused");
        assert_eq!(digest.class(), Class::Unsupported, "{digest}");
    }

    async fn ml_kem(&self) {
        for set in MlKem::ALL {
            let id = fresh();
            let made = self.keystore.generate_pair(id, &PairSpec::MlKem(set), cx()).await;
            let Some(pair) = self.expect(self.can.generate_ml_kem, "generating ML-KEM", made) else { return };
            let private = self.usable(id, pair.private);
            self.found(&private).await;
            self.ml_kem_use(&private, &pair.public).await;
            self.done_with(id).await;
            let (known, public) = local::generate_pair(&PairSpec::MlKem(set)).expect("ML-KEM in software");
            let expanded = known.lattice_private().expect("a private key").expanded;
            let seedless = KeyMaterial::from_lattice_private(PairKind::MlKem(set), expanded.expose()).expect("parsed");
            for known in [known, seedless] {
                let id = fresh();
                let taken = self.keystore.import(id, &known, cx()).await;
                let Some(held) = self.expect(self.can.import, "importing ML-KEM", taken) else { return };
                self.ml_kem_use(&self.usable(id, held), &public).await;
                self.done_with(id).await;
            }
        }
    }

    async fn ml_kem_use(&self, private: &Usable, public: &KeyMaterial) {
        let sent = local::encapsulate(&PreparedKey::new(public).expect("public half")).expect("ML-KEM in software");
        let recovered = self.decapsulate(private, &sent.ciphertext).await;
        let Some(secret) = self.expect(self.can.decapsulate_ml_kem, "ML-KEM", recovered) else { return };
        assert!(secret == sent.secret && secret.len() == SHARED_SECRET_OCTETS);
        // FIPS 203 implicit rejection: another secret, the same each time, and no error.
        let mut altered = sent.ciphertext.clone();
        altered[5] ^= 1;
        let rejected = self.decapsulate(private, &altered).await.expect("no error tells of it");
        assert!(rejected != secret && rejected == self.decapsulate(private, &altered).await.expect("again"));
        let of_another = if sent.ciphertext.len() == 768 { 1088 } else { 768 };
        for wrong in [&sent.ciphertext[1..], b"", &vec![1; of_another]] {
            let error = self.decapsulate(private, wrong).await.expect_err("refused");
            assert_eq!(error.class(), Class::BadInput(Fault::Data), "{error}");
        }
        let error = self.sign(private, SignatureScheme::MlDsa, SignInput::Message(b"x")).await.expect_err("refused");
        assert!(matches!(error.class(), Class::BadInput(_) | Class::Denied | Class::Unsupported), "{error}");
    }

    async fn decapsulate(&self, key: &Usable, ciphertext: &[u8]) -> Result<SecretBytes, KsError> {
        match self.keystore.crypto(key.key(), CryptoOp::Decapsulate(ciphertext), cx()).await? {
            CryptoOut::Decapsulated(secret) => Ok(secret),
            _ => panic!("a decapsulation answers with a secret"),
        }
    }

    async fn random(&self) {
        let (one, other) = (self.keystore.random(32, cx()).await, self.keystore.random(32, cx()).await);
        let (Some(one), Some(other)) =
            (self.expect(self.can.random, "random", one), self.expect(self.can.random, "random", other))
        else {
            return;
        };
        assert!(one.len() == 32 && one != other);
        assert!(self.keystore.random(0, cx()).await.expect("no octets").is_empty());
    }

    async fn life_of_a_key(&self) {
        let id = fresh();
        let made = self.keystore.generate(id, &KeySpec { algorithm: A::Aes, bits: 256 }, cx()).await;
        let Some(held) = self.expect(self.can.generate_aes, "generating AES", made) else { return };
        let key = self.usable(id, held);
        let Usable::Reference(reference) = &key else {
            let exported = self.keystore.export(key.key(), cx()).await.expect("envelope keys are exported");
            assert_eq!(exported.bits().expect("bits"), 256);
            return;
        };
        match self.keystore.export(key.key(), cx()).await {
            Ok(exported) => assert!(self.can.export && exported.bits().expect("bits") == 256),
            Err(denied) => assert_eq!((self.can.export, denied.class()), (false, Class::Denied), "{denied}"),
        }
        let info = self.keystore.info(reference, cx()).await.expect("it is there");
        assert_eq!((info.id, info.class), (id, KeyClass::Secret));
        assert!(self.keystore.list(cx()).await.expect("list").contains(&info));
        if let KeyCheck::Kcv(kcv) = reference.check {
            let other = KeyRef { check: KeyCheck::Kcv(kcv.map(|octet| !octet)), ..reference.clone() };
            assert_eq!(self.keystore.info(&other, cx()).await.expect_err("another key").class(), Class::Corrupt);
        }
        self.keystore.destroy(id, cx()).await.expect("destroyed");
        let gone = [
            self.keystore.info(reference, cx()).await.err(),
            self.keystore.destroy(id, cx()).await.err(),
            self.encrypt(&key, &S::Cbc(BlockPadding::Pkcs5), Iv::Random { len: None }, b"", b"x").await.err(),
        ];
        for error in gone {
            assert_eq!(error.expect("a destroyed key is gone").class(), Class::NotFound);
        }
    }

    async fn bad_input(&self) {
        let id = fresh();
        let made = self.keystore.generate(id, &KeySpec { algorithm: A::Aes, bits: 128 }, cx()).await;
        let Some(held) = self.expect(self.can.generate_aes, "generating AES", made) else { return };
        let key = self.usable(id, held);
        for (scheme, iv, data, fault) in [
            (S::Cbc(BlockPadding::None), 12, 16, Fault::Parameters),
            (S::Cbc(BlockPadding::None), 16, 17, Fault::Data),
            (S::Gcm { tag_len: 16 }, 0, 16, Fault::Parameters),
        ] {
            let error =
                self.encrypt(&key, &scheme, Iv::Given(&vec![0; iv]), b"", &vec![0; data]).await.expect_err("refused");
            assert_eq!(error.class(), Class::BadInput(fault), "{scheme:?}: {error}");
        }
        let spec = KeySpec { algorithm: A::Aes, bits: 99 };
        let error = self.keystore.generate(fresh(), &spec, cx()).await.err().expect("refused");
        assert_eq!(error.class(), Class::BadInput(Fault::Parameters), "{error}");
        let error =
            self.keystore.generate_pair(fresh(), &PairSpec::Rsa { bits: 512 }, cx()).await.err().expect("refused");
        assert_eq!(error.class(), Class::BadInput(Fault::Parameters), "{error}");
        self.done_with(id).await;
        if self.custody == Custody::InBackend {
            let keystore = self.keystore.descriptor().id;
            let nobody = KeyRef { keystore, id: fresh(), class: KeyClass::Private, check: KeyCheck::None };
            let error = self
                .sign(&Usable::Reference(nobody), SignatureScheme::Ecdsa(H::Sha256), SignInput::Message(b"x"))
                .await;
            assert_eq!(error.expect_err("refused").class(), Class::NotFound);
        }
    }

    /// A call whose deadline has passed before the device began was not done.
    async fn deadlines(&self) {
        if self.custody != Custody::InBackend {
            return;
        }
        let past = OpCx { deadline: Instant::now() };
        let error = self.keystore.generate(fresh(), &KeySpec { algorithm: A::Aes, bits: 128 }, past).await.err();
        if let Some(error) = error {
            assert!(matches!(error.class(), Class::Busy | Class::OutcomeUnknown), "{error}");
        }
        // What became of it is found by listing, as a caller would reconcile.
        for key in self.keystore.list(cx()).await.expect("list") {
            self.keystore.destroy(key.id, cx()).await.expect("destroyed");
        }
    }
}

fn fresh() -> KeyId {
    KeyId::random().expect("the generator works")
}
