//! Attributes that 3.0 says by other tags than the versions before it: each kind of link has a tag of its own, and the object group is a
//! link to a group by name.
//!
//! The committee draft's payload tables are not published: this is what its tag list and its test cases show.

use crate::attribute::{Attribute, AttributeName, Link, UniqueIdentifier};
use crate::codec::Field;
use crate::ttlv::{DecodeError, Item, Type, Writer};
use crate::{LinkType, ProtocolVersion, Tag};

const LINKS: [(Tag, LinkType); 14] = [
    (Tag::CERTIFICATE_LINK, LinkType::CertificateLink),
    (Tag::CHILD_LINK, LinkType::ChildLink),
    (Tag::DERIVATION_OBJECT_LINK, LinkType::DerivationBaseObjectLink),
    (Tag::DERIVED_OBJECT_LINK, LinkType::DerivedKeyLink),
    (Tag::NEXT_LINK, LinkType::NextLink),
    (Tag::PARENT_LINK, LinkType::ParentLink),
    (Tag::PKCS_12_CERTIFICATE_LINK, LinkType::Pkcs12CertificateLink),
    (Tag::PKCS_12_PASSWORD_LINK, LinkType::Pkcs12PasswordLink),
    (Tag::PREVIOUS_LINK, LinkType::PreviousLink),
    (Tag::PRIVATE_KEY_LINK, LinkType::PrivateKeyLink),
    (Tag::PUBLIC_KEY_LINK, LinkType::PublicKeyLink),
    (Tag::REPLACED_OBJECT_LINK, LinkType::ReplacedObjectLink),
    (Tag::REPLACEMENT_OBJECT_LINK, LinkType::ReplacementObjectLink),
    (Tag::WRAPPING_KEY_LINK, LinkType::WrappingKeyLink),
];

/// The kind of link that a tag of 3.0 stands for.
pub(crate) fn link_of(tag: Tag) -> Option<LinkType> {
    LINKS.iter().find(|(known, _)| *known == tag).map(|(_, kind)| *kind)
}

/// The tag by which 3.0 says a kind of link.
pub(crate) fn tag_of(kind: LinkType) -> Option<Tag> {
    LINKS.iter().find(|(_, known)| *known == kind).map(|(tag, _)| *tag)
}

/// The name that an Attribute Reference of 3.0 gives by a tag, where it is not the tag's own.
pub(crate) fn name_of(tag: Tag) -> Option<AttributeName> {
    match tag {
        Tag::GROUP_LINK => Some(AttributeName::Standard(Tag::OBJECT_GROUP)),
        tag => link_of(tag).map(AttributeName::Link),
    }
}

/// The tag by which 3.0 refers to a name, where it is not the name's own.
pub(crate) fn reference_to(name: &AttributeName) -> Option<Tag> {
    match name {
        AttributeName::Standard(Tag::OBJECT_GROUP) => Some(Tag::GROUP_LINK),
        AttributeName::Link(kind) => tag_of(*kind),
        _ => None,
    }
}

/// Reads an attribute that 3.0 says otherwise; `None` if it is none of those.
pub(crate) fn decode(item: Item<'_>) -> Option<Result<Attribute, DecodeError>> {
    if item.tag == Tag::GROUP_LINK {
        return Some(item.text_of(Type::NameReference).map(|group| Attribute::ObjectGroup(group.to_owned())));
    }
    let link_type = link_of(item.tag)?;
    let identifier = <UniqueIdentifier as Field>::decode(item, ProtocolVersion::V3_0);
    Some(identifier.map(|linked_object_identifier| Attribute::Link(Link { link_type, linked_object_identifier })))
}

/// Writes an attribute that 3.0 says otherwise; false if it is none of those.
pub(crate) fn encode(attribute: &Attribute, writer: &mut Writer) -> bool {
    match attribute {
        Attribute::ObjectGroup(group) => writer.text_of(Tag::GROUP_LINK, Type::NameReference, group),
        Attribute::Link(Link { link_type, linked_object_identifier }) => {
            let Some(tag) = tag_of(*link_type) else { return false };
            match linked_object_identifier {
                UniqueIdentifier::Text(text) => writer.text_of(tag, Type::Reference, text),
                other => other.encode(tag, writer, ProtocolVersion::V3_0),
            }
        }
        _ => return false,
    }
    true
}

/// Whether 3.0 can say an attribute that it says otherwise; `None` if it is none of those.
pub(crate) fn is_sayable(attribute: &Attribute) -> Option<bool> {
    match attribute {
        Attribute::ObjectGroup(_) => Some(true),
        Attribute::Link(link) => Some(tag_of(link.link_type).is_some()),
        _ => None,
    }
}
