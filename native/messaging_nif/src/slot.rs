//! Resources whose type outlives the module.
//!
//! When `Native` is purged, the VM frees every resource type that has no instance left; but tasks go on and
//! would create their next resource with it. So each type has an instance of its own, empty and for ever.

use std::ops::Deref;

use rustler::{Env, Resource, ResourceArc};

/// A resource, or the empty instance that keeps the type.
pub(crate) struct Slot<T>(Option<T>);

/// What Elixir holds.
pub(crate) type Handle<T> = ResourceArc<Slot<T>>;

impl<T> Slot<T>
where
    Slot<T>: Resource,
{
    /// A new resource.
    pub(crate) fn handle(value: T) -> Handle<T> {
        ResourceArc::new(Slot(Some(value)))
    }

    /// Registers the type; called while the module is loaded.
    pub(crate) fn register(env: Env<'_>) -> bool {
        let registered = env.register::<Self>().is_ok();
        if registered {
            std::mem::forget(ResourceArc::new(Slot::<T>(None)));
        }
        registered
    }
}

impl<T> Deref for Slot<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("the empty instance is handed to nobody"),
        }
    }
}
