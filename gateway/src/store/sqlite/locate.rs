//! Locate: the statement is built from the query's shape; values are always bound.

use sqlx::{QueryBuilder, Sqlite, SqliteConnection, SqlitePool};

use super::read::{OBJECT_COLUMNS, object_from_row};
use crate::seal::Term;
use crate::store::{LocateOrder, LocateQuery, ObjectId, ObjectRow, ToMove};

/// One page of rows. Rows that cannot be parsed are left out of the result and named beside it.
pub(crate) async fn locate(
    pool: &SqlitePool,
    order: LocateOrder,
    query: &LocateQuery,
) -> Result<(Vec<ObjectRow>, Vec<ObjectId>), sqlx::Error> {
    let mut sql = QueryBuilder::new("SELECT ");
    sql.push(OBJECT_COLUMNS).push(" FROM object o WHERE o.id IN (");
    push_ids(&mut sql, order, query, Some(query.limit));
    sql.push(") ORDER BY o.id ").push(direction(order)).push(" LIMIT ").push_bind(query.limit);
    let mut rows = Vec::new();
    let mut unreadable = Vec::new();
    for row in sql.build().fetch_all(pool).await? {
        match object_from_row(&row) {
            Ok(row) => rows.push(row),
            Err(_) => unreadable.extend(ObjectId::from_slice(sqlx::Row::try_get(&row, 0)?)),
        }
    }
    Ok((rows, unreadable))
}

/// How many objects match; `after` and `limit` do not count.
pub(crate) async fn count(pool: &SqlitePool, query: &LocateQuery) -> Result<u64, sqlx::Error> {
    let mut sql = QueryBuilder::new("SELECT count(*) FROM (");
    push_ids(&mut sql, LocateOrder::NewestFirst, &LocateQuery { after: None, ..query.clone() }, None);
    sql.push(")");
    let count: i64 = sql.build_query_scalar().fetch_one(pool).await?;
    Ok(count as u64)
}

/// Objects after `after` whose record is not under `term`.
pub(crate) async fn rows_not_under(
    pool: &SqlitePool,
    term: Term,
    after: ObjectId,
    limit: u32,
) -> Result<Vec<ObjectId>, sqlx::Error> {
    const SQL: &str = "SELECT id FROM object WHERE id > ? AND substr(sealed, 6, 4) <> ? ORDER BY id LIMIT ?";
    let query =
        sqlx::query_scalar::<_, Vec<u8>>(SQL).bind(after.as_bytes().to_vec()).bind(term.0.to_be_bytes().to_vec());
    Ok(query.bind(limit).fetch_all(pool).await?.iter().filter_map(|id| ObjectId::from_slice(id)).collect())
}

/// Objects after `after` that are still to be moved, in order, and ids of rows that cannot be parsed; destroyed objects have nothing
/// to move.
pub(crate) async fn rows_to_move(
    pool: &SqlitePool,
    of: ToMove,
    after: ObjectId,
    limit: u32,
) -> Result<(Vec<ObjectRow>, Vec<ObjectId>), sqlx::Error> {
    let mut sql = QueryBuilder::<Sqlite>::new("SELECT ");
    sql.push(OBJECT_COLUMNS).push(" FROM object o WHERE o.id > ").push_bind(after.as_bytes().to_vec());
    match of {
        ToMove::Keystore(keystore) => {
            let [destroyed, compromised] = crate::store::quota::UNCOUNTED_STATES;
            sql.push(" AND o.keystore = ").push_bind(keystore.as_bytes().to_vec());
            sql.push(" AND o.state NOT IN (").push_bind(destroyed).push(", ").push_bind(compromised).push(")");
        }
        ToMove::NotUnder(term) => {
            sql.push(" AND substr(o.sealed, 6, 4) <> ").push_bind(term.0.to_be_bytes().to_vec());
        }
    }
    sql.push(" ORDER BY o.id LIMIT ").push_bind(limit);
    let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
    for row in sql.build().fetch_all(pool).await? {
        match object_from_row(&row) {
            Ok(row) => rows.push(row),
            Err(_) => unreadable.extend(ObjectId::from_slice(sqlx::Row::try_get(&row, 0)?)),
        }
    }
    Ok((rows, unreadable))
}

/// Whether any object or entry is under `term`.
pub(crate) async fn is_term_used(connection: &mut SqliteConnection, term: Term) -> Result<bool, sqlx::Error> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM object WHERE substr(sealed, 6, 4) = ?1) \
         OR EXISTS (SELECT 1 FROM entry WHERE substr(sealed, 6, 4) = ?1)";
    sqlx::query_scalar(SQL).bind(term.0.to_be_bytes().to_vec()).fetch_one(connection).await
}

/// A SELECT of matching ids. One sub-query per owner, so that each walks its own index range and stops at the limit.
fn push_ids(sql: &mut QueryBuilder<Sqlite>, order: LocateOrder, query: &LocateQuery, limit: Option<u32>) {
    let Some(owners) = &query.owners else {
        return push_source(sql, order, query, limit, |_| {});
    };
    for owner in owners {
        push_source(sql, order, query, limit, |sql| {
            sql.push(" AND s.owner = ").push_bind(owner.as_bytes().to_vec());
        });
        // UNION, not UNION ALL: an object can be visible for two reasons.
        sql.push(" UNION ");
    }
    push_source(sql, order, query, limit, |sql| {
        sql.push(" AND s.id IN (");
        let mut list = sql.separated(",");
        for id in &query.objects {
            list.push_bind(id.as_bytes().to_vec());
        }
        sql.push(")");
    });
}

fn push_source(
    sql: &mut QueryBuilder<Sqlite>,
    order: LocateOrder,
    query: &LocateQuery,
    limit: Option<u32>,
    visible: impl FnOnce(&mut QueryBuilder<Sqlite>),
) {
    sql.push("SELECT id FROM (SELECT s.id FROM ");
    match query.tokens.split_first() {
        None => {
            sql.push("object s WHERE 1");
        }
        Some((first, others)) => {
            // CROSS JOIN fixes the order: from the token to its objects, never a walk over all objects.
            sql.push("object_index i CROSS JOIN object s ON s.id = i.object WHERE i.token = ");
            sql.push_bind(first.0.to_vec());
            if let Some(after) = &query.after {
                sql.push(" AND i.object ").push(beyond(order)).push_bind(after.as_bytes().to_vec());
            }
            for token in others {
                sql.push(" AND EXISTS (SELECT 1 FROM object_index j WHERE j.object = i.object AND j.token = ");
                sql.push_bind(token.0.to_vec()).push(")");
            }
        }
    }
    sql.push(" AND s.organisation = ").push_bind(query.organisation.as_bytes().to_vec());
    visible(sql);
    if let Some(after) = &query.after {
        sql.push(" AND s.id ").push(beyond(order)).push_bind(after.as_bytes().to_vec());
    }
    push_codes(sql, " AND s.state IN (", &query.states);
    push_codes(sql, " AND s.object_type IN (", &query.object_types);
    if let Some(limit) = limit {
        sql.push(" ORDER BY s.id ").push(direction(order)).push(" LIMIT ").push_bind(limit);
    }
    sql.push(")");
}

fn direction(order: LocateOrder) -> &'static str {
    match order {
        LocateOrder::NewestFirst => "DESC",
        LocateOrder::OldestFirst => "ASC",
    }
}

/// What compares an id that comes later in the order with one that comes before.
fn beyond(order: LocateOrder) -> &'static str {
    match order {
        LocateOrder::NewestFirst => "< ",
        LocateOrder::OldestFirst => "> ",
    }
}

fn push_codes(sql: &mut QueryBuilder<Sqlite>, condition: &str, codes: &[u32]) {
    if codes.is_empty() {
        return;
    }
    sql.push(condition);
    let mut list = sql.separated(",");
    for code in codes {
        list.push_bind(i64::from(*code));
    }
    sql.push(")");
}
