//! Links between imported objects: public and private keys, certificates, what was replaced by what.
//!
//! A file names objects by identifiers of its own. While its keys are sent, [`FileLinks`] notes which object became which; when all
//! are there, it says which links are to be made, and the server makes them ([`restore`]). Sent twice, they are made once, so an
//! import that was cut off is said again.

use std::{collections::HashMap, sync::Arc};

use keygate_kmip::LinkType;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FileLink, ImportItem, ImportReport};
use crate::admin::{AdminError, chain};
use crate::operation::Gateway;
use crate::provisioning::Deciding;
use crate::store::{ObjectId, OrganisationId};

/// Objects of one order.
const OBJECTS_MAX: usize = 1000;
/// Links of an order.
const LINKS_MAX: usize = 1000;
/// Links of one object that go into an order together: a key may be the base of thousands.
const TOGETHER: usize = 250;

/// Links to be made.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkOrder {
    /// Objects and what they are linked to: at most 1,000 objects, and 1,000 links.
    pub objects: Vec<ObjectLinks>,
}

/// The links of one object.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectLinks {
    /// Its Unique Identifier here.
    pub id: String,
    /// Its links.
    pub links: Vec<LinkTo>,
}

/// A link.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkTo {
    /// KMIP Link Type, its number (KMIP 2.1 §11.28): 258 for Public Key Link.
    pub link_type: u32,
    /// Unique Identifier of the other object here.
    pub to: String,
}

/// What became of links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LinkReport {
    /// Made now.
    pub restored: u64,
    /// There already, or in contradiction to what is there.
    pub left: u64,
}

/// The links of a file, while it is read and sent.
#[derive(Default)]
pub struct FileLinks {
    wanted: Vec<(String, Vec<FileLink>)>,
    became: HashMap<String, String>,
}

impl FileLinks {
    /// Takes note of an object that is sent.
    pub fn note(&mut self, item: &mut ImportItem) {
        let links = std::mem::take(&mut item.links);
        if !item.id.is_empty() && !links.is_empty() {
            self.wanted.push((item.id.clone(), links));
        }
    }

    /// Takes note of what objects have become.
    pub fn became(&mut self, report: &ImportReport) {
        let lines = report.imported.iter().chain(&report.duplicates).filter(|line| !line.id.is_empty());
        self.became.extend(lines.map(|line| (line.id.clone(), line.what.clone())));
    }

    /// What is to be made, and how many links lead to objects that did not come.
    pub fn orders(self) -> (Vec<LinkOrder>, u64) {
        let (mut orders, mut astray) = (Vec::<LinkOrder>::new(), 0);
        for (from, links) in self.wanted {
            let Some(id) = self.became.get(&from) else { continue };
            let mut found = Vec::with_capacity(links.len());
            for FileLink { link_type, to } in links {
                match self.became.get(&to) {
                    Some(to) => found.push(LinkTo { link_type, to: to.clone() }),
                    None => astray += 1,
                }
            }
            let mut found = found.into_iter().peekable();
            while found.peek().is_some() {
                let links: Vec<LinkTo> = found.by_ref().take(TOGETHER).collect();
                if orders.last().is_none_or(|order| order.count() + links.len() > LINKS_MAX) {
                    orders.push(LinkOrder::default());
                }
                if let Some(order) = orders.last_mut() {
                    order.objects.push(ObjectLinks { id: id.clone(), links });
                }
            }
        }
        (orders, astray)
    }
}

impl LinkOrder {
    fn count(&self) -> usize {
        self.objects.iter().map(|object| object.links.len()).sum()
    }

    /// Everything is read before the first link is made.
    fn read(&self) -> Result<Vec<Links>, AdminError> {
        if self.objects.len() > OBJECTS_MAX || self.count() > LINKS_MAX {
            return Err(AdminError::usage(format!("an order has at most {OBJECTS_MAX} objects and {LINKS_MAX} links")));
        }
        self.objects
            .iter()
            .map(|object| {
                let links: Result<_, AdminError> = object.links.iter().map(LinkTo::read).collect();
                Ok(Links { object: identifier(&object.id)?, links: links? })
            })
            .collect()
    }
}

struct Links {
    object: ObjectId,
    links: Vec<(LinkType, ObjectId)>,
}

impl LinkTo {
    fn read(&self) -> Result<(LinkType, ObjectId), AdminError> {
        let kind = LinkType::from_code(self.link_type)
            .ok_or_else(|| AdminError::usage(format!("{} is no Link Type", self.link_type)))?;
        Ok((kind, identifier(&self.to)?))
    }
}

fn identifier(text: &str) -> Result<ObjectId, AdminError> {
    text.parse().map_err(|_| AdminError::usage("an object is named by what is no Unique Identifier"))
}

/// Makes links between objects of an organisation.
///
/// # Errors
/// An order that is too large or names what is no identifier or Link Type; an object that is not there; the store.
pub async fn restore(
    gateway: &Arc<Gateway>,
    organisation: OrganisationId,
    by: &Deciding,
    order: &LinkOrder,
) -> Result<LinkReport, AdminError> {
    let mut report = LinkReport::default();
    for Links { object, links } in order.read()? {
        let made = gateway.restore_links(organisation, by, object, &links).await;
        let made = made.map_err(|error| AdminError::usage(format!("object {object}: {}", chain(&error))))?;
        report.restored += made as u64;
        report.left += (links.len() - made) as u64;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admin::Password, import::Line};

    fn item(id: &str, links: &[(u32, &str)]) -> ImportItem {
        let links = links.iter().map(|(link_type, to)| FileLink { link_type: *link_type, to: (*to).into() }).collect();
        let object = Password(String::new());
        ImportItem {
            label: id.into(),
            id: id.into(),
            owner: String::new(),
            object,
            attributes: String::new(),
            compromised: false,
            links,
        }
    }

    fn line(id: &str, what: &str) -> Line {
        Line { label: id.into(), id: id.into(), what: what.into() }
    }

    /// Goal: links lead to what objects have become, those to objects that did not come are counted, and no order is too large.
    #[test]
    fn links_follow_their_objects() {
        let mut links = FileLinks::default();
        let many: Vec<(u32, &str)> = (0..2500).map(|_| (261, "b")).collect();
        for mut item in [
            item("a", &[(258, "b"), (263, "gone")]),
            item("b", &[(259, "a")]),
            item("c", &many),
            item("d", &[(257, "a")]),
        ] {
            links.note(&mut item);
            assert!(item.links.is_empty());
        }
        let report = ImportReport {
            imported: vec![line("a", "A"), line("b", "B")],
            duplicates: vec![line("c", "C")],
            refused: vec![line("d", "no")],
        };
        links.became(&report);
        let (orders, astray) = links.orders();
        assert_eq!(astray, 1);
        let first = &orders[0].objects;
        assert_eq!((first[0].id.as_str(), first[0].links.len(), first[0].links[0].to.as_str()), ("A", 1, "B"));
        assert_eq!((first[1].id.as_str(), first[1].links[0].link_type, first[1].links[0].to.as_str()), ("B", 259, "A"));
        let count: usize = orders.iter().map(LinkOrder::count).sum();
        assert_eq!(count, 2502, "all but those that lead nowhere, and those of what was refused");
        assert!(orders.iter().all(|order| order.count() <= LINKS_MAX));
        assert!(orders[0].read().is_err(), "A is no identifier of ours");
    }
}
