//! Typed bodies, both ways, from the catalogue's own text. Both structs are taken apart whole: a
//! field that only one of them has does not compile.

use super::value::{Field, Value};
use super::violation::{Path, Violations};
use crate::domain::event::catalogue::{self, list};
use crate::domain::event::{Body, Unset};
use crate::pb;

macro_rules! convert {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $($place:ident { $($(#[$fdoc:meta])* $field:ident $(: $type:ty)? $(= $rule:ident)?,)* })*
        }
    )*) => {$(
        impl Value<pb::$name> for catalogue::$name {
            #[allow(unused_variables)] // some bodies have no fields
            fn read(wire: pb::$name, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
                let pb::$name { $($($field,)*)* } = wire;
                $($(
                    let below = at.field(stringify!($field));
                    let before = violations.len();
                    let $field = Field::read($field, &below, violations);
                    $(
                        const _: &str = stringify!($rule);
                        if Unset::is_unset(&$field) && violations.len() == before {
                            violations.add(&below, "is required");
                        }
                    )?
                )*)*
                Some(catalogue::$name { $($($field,)*)* })
            }

            fn write(&self) -> pb::$name {
                let catalogue::$name { $($($field,)*)* } = self;
                pb::$name { $($($field: Field::write($field),)*)* }
            }
        }
    )*};
}

catalogue::breach::breach!(convert);
catalogue::consent::consent!(convert);
catalogue::custody::custody!(convert);
catalogue::instruction::instruction!(convert);
catalogue::people::people!(convert);
catalogue::processing::processing!(convert);
catalogue::registers::registers!(convert);
catalogue::requests::requests!(convert);
catalogue::retention::retention!(convert);
catalogue::sharing::sharing!(convert);
catalogue::transfer::transfer!(convert);

/// Rare large bodies are boxed on the wire's side.
trait Unboxed<T> {
    fn unboxed(self) -> T;
}

impl<T> Unboxed<T> for T {
    fn unboxed(self) -> T {
        self
    }
}

impl<T> Unboxed<T> for Box<T> {
    fn unboxed(self) -> T {
        *self
    }
}

/// Not inlined: a hundred bodies in one function would make its stack frame as large as all of them.
#[inline(never)]
fn boxed<W, T: Value<W>>(wire: W, at: &Path<'_>, violations: &mut Violations) -> Option<Box<T>> {
    T::read(wire, at, violations).map(Box::new)
}

macro_rules! body {
    ($($number:literal $name:ident $snake:ident $about:ident $($flag:ident)?,)*) => {
        impl Value<pb::event::Body> for Body {
            fn read(wire: pb::event::Body, at: &Path<'_>, violations: &mut Violations) -> Option<Self> {
                match wire {
                    $(pb::event::Body::$name(wire) => {
                        let wire = Unboxed::<pb::$name>::unboxed(wire);
                        boxed(wire, &at.field(stringify!($snake)), violations).map(Body::$name)
                    })*
                }
            }

            #[allow(clippy::useless_conversion)] // only the boxed ones are converted
            fn write(&self) -> pb::event::Body {
                match self {
                    $(Body::$name(body) => pb::event::Body::$name(body.write().into()),)*
                }
            }
        }
    };
}
list!(body);
