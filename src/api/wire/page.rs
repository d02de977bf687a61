//! The members that every list has, and what page of it is wanted.

use super::document::{Kind, Member, Object, Type, Value};
use crate::store::Window;

/// The members of a paged response.
pub(in crate::api) const fn members(of: &'static Type) -> [Member; 5] {
    [
        Member::always("PageSize", Kind::Integer),
        Member::always("TotalPages", Kind::Integer),
        Member::always("TotalItems", Kind::Integer),
        Member::always("CurrentPage", Kind::Integer),
        Member::always("Results", Kind::List(of)),
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
        let pages = self.total / self.size + i64::from(self.total % self.size > 0);
        let numbers = [self.size, pages, self.total, self.number].map(Value::Integer);
        let values = numbers.into_iter().chain([Value::List(of, results)]).collect();
        Object::new(response, values).with_response_status()
    }

    /// Which items those are, of a list whose total is not known yet.
    pub fn window(self) -> Window {
        Window { limit: self.size, offset: (self.number - 1) * self.size }
    }
}
