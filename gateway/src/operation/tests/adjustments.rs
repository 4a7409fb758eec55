//! Adjust Attribute: what is moved, by how much, and what is refused.

use keygate_kmip::{AdjustAttributeRequest, AdjustmentType, AttributeName, Interval, ProtocolVersion, Tag};

use super::*;

async fn adjust(world: &World, caller: &Caller, id: &str, name: AttributeName, how: AdjustmentType, by: Option<AnyValue>) -> Result<(), OperationError> {
    let request = AdjustAttributeRequest { unique_identifier: Some(named(id)), name, adjustment_type: how, adjustment_value: by };
    world.ask(caller, RequestPayload::AdjustAttribute(request)).await.map(drop)
}

fn interval(seconds: u32) -> Option<AnyValue> {
    Attribute::ProtectionPeriod(Interval(seconds)).value()
}

fn custom(name: &str) -> AttributeName {
    AttributeName::Custom { vendor: "x".to_owned(), name: name.to_owned() }
}

async fn attribute(world: &World, id: &str, name: &AttributeName) -> Option<Attribute> {
    let mut exchange = world.exchange(&world.alice);
    let permit = exchange.permit(Some(&named(id)), Operation::GetAttributes).await.expect("alice's");
    exchange.object(&permit).attributes.of(name).next().map(|instance| instance.attribute.clone())
}

/// A number, an interval and a Boolean are moved; what has no value begins at 0.
#[tokio::test]
async fn values_are_moved() {
    let world = World::new().await;
    let count = Attribute::Custom(CustomAttribute { vendor: "x".to_owned(), name: "count".to_owned(), value: AnyValue::integer(5) });
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 16], vec![count]).await;
    let moved = |name, how, by| adjust(&world, &world.alice, &id, name, how, by);
    moved(custom("count"), AdjustmentType::Increment, None).await.expect("by 1");
    moved(custom("count"), AdjustmentType::Decrement, Some(AnyValue::integer(10))).await.expect("by 10");
    moved(custom("count"), AdjustmentType::Negate, None).await.expect("negated");
    let value = |attribute: Option<Attribute>| attribute.and_then(|attribute| attribute.value());
    assert_eq!(value(attribute(&world, &id, &custom("count")).await), Some(AnyValue::integer(4)));
    moved(custom("new"), AdjustmentType::Increment, Some(AnyValue::integer(3))).await.expect("from 0");
    assert_eq!(value(attribute(&world, &id, &custom("new")).await), Some(AnyValue::integer(3)));
    let rotate = AttributeName::Standard(Tag::ROTATE_INTERVAL);
    moved(rotate.clone(), AdjustmentType::Increment, interval(60)).await.expect("from 0");
    assert_eq!(attribute(&world, &id, &rotate).await, Some(Attribute::RotateInterval(Interval(60))));
    let automatic = AttributeName::Standard(Tag::ROTATE_AUTOMATIC);
    moved(automatic.clone(), AdjustmentType::Negate, None).await.expect("from false");
    assert_eq!(attribute(&world, &id, &automatic).await, Some(Attribute::RotateAutomatic(true)));
}

/// Refusals change nothing: others' objects, what clients may not set, several values, other types, what the type does not hold.
#[tokio::test]
async fn what_cannot_be_moved_is_refused() {
    let world = World::new().await;
    let instance = |number| Attribute::Custom(CustomAttribute { vendor: "x".to_owned(), name: "two".to_owned(), value: AnyValue::integer(number) });
    let most = Attribute::Custom(CustomAttribute { vendor: "x".to_owned(), name: "most".to_owned(), value: AnyValue::integer(i32::MAX) });
    let id = world.registered(CryptographicAlgorithm::Aes, &[7; 16], vec![most]).await;
    for number in [1, 2] {
        let request = keygate_kmip::AddAttributeRequest { unique_identifier: Some(named(&id)), attribute: instance(number).into() };
        world.ask(&world.alice, RequestPayload::AddAttribute(request)).await.expect("added");
    }
    let standard = AttributeName::Standard;
    let up = AdjustmentType::Increment;
    let refused = async |name, how, by| adjust(&world, &world.alice, &id, name, how, by).await.expect_err("refused");
    assert!(matches!(refused(custom("two"), up, None).await, OperationError::MultiValuedAttribute(_)));
    assert!(matches!(refused(custom("most"), up, None).await, OperationError::NumericRange(_)));
    assert!(matches!(refused(custom("most"), up, interval(1)).await, OperationError::InvalidDataType(_)));
    assert!(matches!(refused(custom("most"), AdjustmentType::Negate, Some(AnyValue::integer(1))).await, OperationError::InvalidField(_)));
    assert!(matches!(refused(custom("none"), up, None).await, OperationError::AttributeNotFound(_)));
    assert!(matches!(refused(standard(Tag::STATE), up, None).await, OperationError::ReadOnlyAttribute(_)));
    assert!(matches!(refused(standard(Tag::LAST_CHANGE_DATE), up, None).await, OperationError::ReadOnlyAttribute(_)));
    assert!(matches!(refused(standard(Tag::CONTACT_INFORMATION), up, None).await, OperationError::AttributeNotFound(_)));
    assert!(matches!(refused(standard(Tag::LINK), up, None).await, OperationError::AttributeNotFound(_)));
    let others = adjust(&world, &world.bob, &id, custom("most"), AdjustmentType::Decrement, None).await;
    assert!(matches!(others, Err(OperationError::NotFound)));
    let unchanged = attribute(&world, &id, &custom("most")).await.and_then(|attribute| attribute.value());
    assert_eq!(unchanged, Some(AnyValue::integer(i32::MAX)));
    assert_eq!(respond_reason(&OperationError::NumericRange(String::new())), keygate_kmip::ResultReason::NumericRange);
}

fn respond_reason(error: &OperationError) -> keygate_kmip::ResultReason {
    crate::respond::result_reason(error, ProtocolVersion::V2_1)
}
