//! Goal: what KMIP 3.0 has beyond the official cases works end to end: post-quantum keys are made, registered and used, objects are
//! deactivated and obliterated. Method: XML over HTTPS, each answer looked at.

use keygate_tests::gateway::{Setup, TestGateway};
use keygate_tests::kmip_https::KmipHttps;

/// The answer to one batch of `operation, payload` in 3.0.
fn ask(gateway: &TestGateway, items: &[(&str, String)]) -> String {
    let items: String = items
        .iter()
        .map(|(operation, payload)| {
            format!(
                r#"<BatchItem><Operation type="Enumeration" value="{operation}"/><RequestPayload>{payload}</RequestPayload></BatchItem>"#
            )
        })
        .collect();
    let message = format!(
        r#"<RequestMessage><RequestHeader><ProtocolVersion><ProtocolVersionMajor type="Integer" value="3"/>
        <ProtocolVersionMinor type="Integer" value="0"/></ProtocolVersion></RequestHeader>{items}</RequestMessage>"#
    );
    KmipHttps::new(gateway.connect("a")).post("text/xml", message.as_bytes()).expect("an answer").text()
}

/// The value of the first item of this name.
fn value<'a>(answer: &'a str, name: &str) -> &'a str {
    let at = answer.find(&format!("<{name} type=")).unwrap_or_else(|| panic!("{name} is not in {answer}"));
    answer[at..].split("value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

fn identifier(value: &str) -> String {
    format!(r#"<UniqueIdentifier type="Identifier" value="{value}"/>"#)
}

fn pair(algorithm: &str, private: &str, public: &str) -> (&'static str, String) {
    let payload = format!(
        r#"<CommonAttributes><CryptographicAlgorithm type="Enumeration" value="{algorithm}"/>
        <ActivationDate type="DateTime" value="2020-01-01T00:00:00+00:00"/></CommonAttributes>
        <PrivateKeyAttributes><CryptographicUsageMask type="Integer" value="{private}"/></PrivateKeyAttributes>
        <PublicKeyAttributes><CryptographicUsageMask type="Integer" value="{public}"/></PublicKeyAttributes>"#
    );
    ("CreateKeyPair", payload)
}

#[test]
fn ml_dsa_keys_sign_and_verify() {
    let gateway = Setup::new().start();
    for (algorithm, signature_octets) in [("ML_DSA_44", 2_420), ("ML_DSA_65", 3_309), ("ML_DSA_87", 4_627)] {
        let made = ask(&gateway, &[pair(algorithm, "Sign", "Verify")]);
        let (private, public) = (value(&made, "PrivateKeyUniqueIdentifier"), value(&made, "PublicKeyUniqueIdentifier"));
        let attributes = ask(&gateway, &[("GetAttributes", identifier(private))]);
        assert_eq!(value(&attributes, "CryptographicAlgorithm"), algorithm);
        assert_eq!(value(&attributes, "PublicKeyLink"), public, "links are said by kind");
        let data = r#"<Data type="ByteString" value="0102"/>"#;
        let signed = ask(&gateway, &[("Sign", identifier(private) + data)]);
        let signature = value(&signed, "SignatureData").to_owned();
        assert_eq!(signature.len(), 2 * signature_octets, "FIPS 204, table 2");
        // The public key alone, as somebody else registers it, verifies.
        let got = ask(&gateway, &[("Get", identifier(public))]);
        let object = &got[got.find("<PublicKey>").expect("an object")..got.find("</PublicKey>").expect("an object") + 12];
        let registered = ask(
            &gateway,
            &[(
                "Register",
                format!(
                    r#"<ObjectType type="Enumeration" value="PublicKey"/><Attributes><CryptographicUsageMask type="Integer" value="Verify"/>
                    <ActivationDate type="DateTime" value="2020-01-01T00:00:00+00:00"/></Attributes>{object}"#
                ),
            )],
        );
        for key in [public, value(&registered, "UniqueIdentifier")] {
            for (data, valid) in [("0102", "Valid"), ("0103", "Invalid")] {
                let payload = format!(
                    r#"{}<Data type="ByteString" value="{data}"/><SignatureData type="ByteString" value="{signature}"/>"#,
                    identifier(key)
                );
                let verified = ask(&gateway, &[("SignatureVerify", payload)]);
                assert_eq!(value(&verified, "ValidityIndicator"), valid, "{algorithm}: {verified}");
            }
        }
        let refused = ask(&gateway, &[("Encrypt", identifier(public) + data)]);
        assert_eq!(value(&refused, "ResultStatus"), "OperationFailed", "{refused}");
    }
}

#[test]
fn ml_kem_keys_are_made_and_kept() {
    let gateway = Setup::new().start();
    for (algorithm, least) in [("ML_KEM_512", 800), ("ML_KEM_768", 1_184), ("ML_KEM_1024", 1_568)] {
        let made = ask(&gateway, &[pair(algorithm, "Decrypt", "Encrypt")]);
        let public = value(&made, "PublicKeyUniqueIdentifier");
        let got = ask(&gateway, &[("Get", identifier(public))]);
        assert_eq!(value(&got, "CryptographicAlgorithm"), algorithm);
        assert!(value(&got, "KeyMaterial").len() > 2 * least, "FIPS 203, table 3: {got}");
        // 3.0 has no operation that encapsulates; what is not defined is refused, not guessed.
        let refused = ask(&gateway, &[("Encrypt", identifier(public) + r#"<Data type="ByteString" value="0102"/>"#)]);
        assert_eq!(value(&refused, "ResultStatus"), "OperationFailed", "{refused}");
    }
}

#[test]
fn objects_are_deactivated_and_obliterated() {
    let gateway = Setup::new().start();
    let create = r#"<ObjectType type="Enumeration" value="SymmetricKey"/><Attributes>
        <CryptographicAlgorithm type="Enumeration" value="AES"/><CryptographicLength type="Integer" value="256"/>
        <CryptographicUsageMask type="Integer" value="Encrypt"/><ActivationDate type="DateTime" value="2020-01-01T00:00:00+00:00"/>
        <Name type="TextString" value="blue"/></Attributes>"#;
    let made = ask(&gateway, &[("Create", create.to_owned())]);
    let key = identifier(value(&made, "UniqueIdentifier"));
    let state = |name: &str| ask(&gateway, &[("GetAttributes", format!(r#"{key}<AttributeReference type="Enumeration" value="{name}"/>"#))]);
    // An active key does not go.
    let refused = ask(&gateway, &[("Obliterate", key.clone())]);
    assert_eq!(value(&refused, "ResultReason"), "WrongKeyLifecycleState", "{refused}");
    assert_eq!(value(&state("State"), "State"), "Active");
    let _ = value(&ask(&gateway, &[("Deactivate", key.clone())]), "UniqueIdentifier");
    assert_eq!(value(&state("State"), "State"), "Deactivated");
    let again = ask(&gateway, &[("Deactivate", key.clone())]);
    assert_eq!(value(&again, "ResultStatus"), "OperationFailed", "{again}");
    // Gone for the rest of the message already.
    let gone = ask(&gateway, &[("Obliterate", key.clone()), ("GetAttributes", key.clone())]);
    assert_eq!((value(&gone, "ResultStatus"), value(&gone, "ResultReason")), ("Success", "ItemNotFound"), "{gone}");
    assert_eq!(value(&state("State"), "ResultReason"), "ItemNotFound");
    // Its name is free again.
    let made = ask(&gateway, &[("Create", create.to_owned())]);
    assert_eq!(value(&made, "ResultStatus"), "Success", "{made}");
}
