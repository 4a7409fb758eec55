//! Stories of applications that call PKCS#11 functions.

use keygate_kmip::{Pkcs11Function as F, Pkcs11Request, Pkcs11Response, Pkcs11ReturnCode as Rv};

use super::*;

async fn call(world: &World, caller: &Caller, function: F, value: Option<&[u8]>, input: &[u8]) -> Result<Pkcs11Response, OperationError> {
    let request = Pkcs11Request {
        interface: None,
        function,
        correlation_value: value.map(<[u8]>::to_vec),
        input_parameters: (!input.is_empty()).then(|| Secret::new(input.to_vec())),
    };
    match world.ask(caller, RequestPayload::Pkcs11(request)).await? {
        ResponsePayload::Pkcs11(response) => Ok(response),
        _ => panic!("PKCS#11 is answered by PKCS#11"),
    }
}

async fn returned(world: &World, function: F, value: &[u8], input: &[u8]) -> (Rv, Vec<u8>) {
    let response = call(world, &world.alice, function, Some(value), input).await.expect("an answer");
    (response.return_code, response.output_parameters.map(|output| output.expose_bytes().to_vec()).unwrap_or_default())
}

async fn initialised(world: &World, caller: &Caller) -> Vec<u8> {
    let response = call(world, caller, F::CInitialize, None, &[1]).await.expect("initialised");
    assert_eq!(response.return_code, Rv::Ok);
    response.correlation_value.expect("a correlation value")
}

fn ulongs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// An application asks what there is, opens a session, takes random numbers and ends.
#[tokio::test]
async fn an_application_from_beginning_to_end() {
    let world = World::new().await;
    let value = initialised(&world, &world.alice).await;
    let (code, info) = returned(&world, F::CGetInfo, &value, &[]).await;
    assert_eq!((code, info.len(), &info[..2]), (Rv::Ok, 76, &[2, 40][..]));
    let one_slot = [&1u32.to_be_bytes()[..], &ulongs(&[0])].concat();
    assert_eq!(returned(&world, F::CGetSlotList, &value, &[1, 0]).await, (Rv::Ok, 1u32.to_be_bytes().to_vec()));
    assert_eq!(returned(&world, F::CGetSlotList, &value, &[1, 1, 0, 0, 0, 0]).await.0, Rv::BufferTooSmall);
    assert_eq!(returned(&world, F::CGetSlotList, &value, &[1, 1, 0, 0, 0, 9]).await, (Rv::Ok, one_slot));
    assert_eq!(returned(&world, F::CGetSlotInfo, &value, &ulongs(&[0])).await.1.len(), 64 + 32 + 8 + 4);
    assert_eq!(returned(&world, F::CGetTokenInfo, &value, &ulongs(&[0])).await.1.len(), 32 + 32 + 16 + 16 + 8 + 10 * 8 + 4 + 16);
    assert_eq!(returned(&world, F::CGetTokenInfo, &value, &ulongs(&[1])).await.0, Rv::SlotIdInvalid);

    let (code, session) = returned(&world, F::COpenSession, &value, &ulongs(&[0, 4 | 2])).await;
    assert_eq!(code, Rv::Ok);
    assert_eq!(returned(&world, F::CGetSessionInfo, &value, &session).await, (Rv::Ok, ulongs(&[0, 2, 6, 0])));
    let wanted = [&session[..], &16u32.to_be_bytes()].concat();
    let (code, random) = returned(&world, F::CGenerateRandom, &value, &wanted).await;
    assert_eq!((code, random.len(), &random[..4]), (Rv::Ok, 20, &16u32.to_be_bytes()[..]));
    assert_ne!(random, returned(&world, F::CGenerateRandom, &value, &wanted).await.1);
    assert_eq!(returned(&world, F::CCloseSession, &value, &session).await.0, Rv::Ok);
    assert_eq!(returned(&world, F::CGenerateRandom, &value, &wanted).await.0, Rv::SessionHandleInvalid);
    assert_eq!(returned(&world, F::CFinalize, &value, &[]).await.0, Rv::Ok);
    assert_eq!(returned(&world, F::CGetInfo, &value, &[]).await.0, Rv::CryptokiNotInitialized);
}

/// A correlation value is its caller's: to others it is none, and nobody guesses one.
#[tokio::test]
async fn an_application_is_its_callers() {
    let world = World::new().await;
    let value = initialised(&world, &world.alice).await;
    for (caller, value) in [(&world.bob, &value[..]), (&world.alice, &[0; 16][..]), (&world.alice, &[1, 2][..])] {
        for function in [F::CGetInfo, F::CFinalize] {
            let response = call(&world, caller, function, Some(value), &[]).await.expect("an answer");
            assert_eq!(response.return_code, Rv::CryptokiNotInitialized);
        }
    }
    assert_eq!(call(&world, &world.alice, F::CGetInfo, None, &[]).await.expect("an answer").return_code, Rv::CryptokiNotInitialized);
    assert_eq!(returned(&world, F::CGetInfo, &value, &[]).await.0, Rv::Ok);
}

/// What is not served says so, as PKCS#11 does; parameters that cannot be read are an error of the message.
#[tokio::test]
async fn other_functions_and_bad_parameters() {
    let world = World::new().await;
    let value = initialised(&world, &world.alice).await;
    for function in [F::CSign, F::CLogin, F::CWrapKey, F::CGetFunctionList, F::Extension(0x8000_0001)] {
        assert_eq!(returned(&world, function, &value, &[1, 2, 3]).await.0, Rv::FunctionNotSupported, "{function}");
    }
    for (function, input) in [(F::CGetSlotInfo, &[0, 0][..]), (F::CGetSlotList, &[7, 0]), (F::CGetInfo, &[0]), (F::CGenerateRandom, &[0; 11])] {
        let refused = call(&world, &world.alice, function, Some(&value), input).await;
        assert!(matches!(refused, Err(OperationError::Pkcs11Codec(_))), "{function}");
    }
    let request = Pkcs11Request { interface: Some("Vendor X".to_owned()), function: F::CInitialize, correlation_value: None, input_parameters: None };
    assert!(matches!(world.ask(&world.alice, RequestPayload::Pkcs11(request)).await, Err(OperationError::Pkcs11Interface(_))));
}

/// Applications and sessions are few, and room is made by ending them.
#[tokio::test]
async fn applications_and_sessions_are_bounded() {
    let world = World::new().await;
    let mut last = Vec::new();
    for _ in 0..16 {
        last = initialised(&world, &world.alice).await;
    }
    assert!(matches!(call(&world, &world.alice, F::CInitialize, None, &[]).await, Err(OperationError::LimitExceeded(_))));
    initialised(&world, &world.bob).await;
    for _ in 0..64 {
        assert_eq!(returned(&world, F::COpenSession, &last, &ulongs(&[0, 4])).await.0, Rv::Ok);
    }
    assert_eq!(returned(&world, F::COpenSession, &last, &ulongs(&[0, 4])).await.0, Rv::SessionCount);
    assert_eq!(returned(&world, F::COpenSession, &last, &ulongs(&[0, 2])).await.0, Rv::SessionParallelNotSupported);
    assert_eq!(returned(&world, F::CCloseAllSessions, &last, &ulongs(&[0])).await.0, Rv::Ok);
    assert_eq!(returned(&world, F::COpenSession, &last, &ulongs(&[0, 4])).await.0, Rv::Ok);
    assert_eq!(returned(&world, F::CFinalize, &last, &[]).await.0, Rv::Ok);
    initialised(&world, &world.alice).await;
}
