//! The members that every list has, and what page of it is wanted.

use super::document::{Kind, Member, Object, RESULTS, Type, Value};
use crate::store::Window;

/// The members of a paged response.
pub(in crate::api) const fn members(of: &'static Type) -> [Member; 5] {
    [
        Member::always("PageSize", Kind::Integer),
        Member::always("TotalPages", Kind::Integer),
        Member::always("TotalItems", Kind::Integer),
        Member::always("CurrentPage", Kind::Integer),
        Member::always(RESULTS, Kind::List(of)),
    ]
}

/// A page of a list.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Page {
    /// From 1 on.
    pub number: i64,
    pub size: i64,
    /// The items of the whole list, those that are on no page that was asked for included.
    pub total: i64,
}

impl Page {
    pub fn of<'a>(self, response: &'static Type, of: &'static Type, results: Vec<Object<'a>>) -> Object<'a> {
        Object::new(response, self.values(of, results).into()).with_response_status()
    }

    /// The values of [`members`].
    pub fn values<'a>(self, of: &'static Type, results: Vec<Object<'a>>) -> [Value<'a>; 5] {
        let pages = self.total / self.size + i64::from(self.total % self.size > 0);
        let [size, pages, total, number] = [self.size, pages, self.total, self.number].map(Value::Integer);
        [size, pages, total, number, Value::List(of, results)]
    }

    /// Which items those are, of a list whose total is not known yet.
    pub fn window(self) -> Window {
        Window { limit: self.size, offset: (self.number - 1) * self.size }
    }
}
