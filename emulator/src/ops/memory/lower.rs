//! Lowering of loads and stores.

use super::{
    ADDRESS, Elements, Form, access, generic, global::Global, local::Local, shared::Shared, uniform,
};
use crate::{
    isa::Isa,
    machine::{Ordering, Scope},
    ops::special,
    program::{Builder, Exec, Place, WarpFn, Width},
    ptx::ast::{Operand, Type},
};

/// The parts of a load's or store's spelling.
struct Spelling {
    space: Option<&'static str>,
    ordering: Ordering,
    scope: Scope,
    vector: usize,
    ty: Type,
    /// A cache policy follows the operands.
    policy: bool,
}

/// Where data is kept on its way.
const HINTS: [&str; 11] = [
    "L1::evict_normal",
    "L1::evict_unchanged",
    "L1::evict_first",
    "L1::evict_last",
    "L1::no_allocate",
    "L2::evict_normal",
    "L2::evict_first",
    "L2::evict_last",
    "L2::64B",
    "L2::128B",
    "L2::256B",
];

/// Lowers one of the family.
pub fn lower(b: &mut Builder<'_>) -> Result<(), String> {
    let load = b.source.opcode != "st";
    let spelling = spell(b, load)?;
    b.expect_operands(2 + usize::from(spelling.policy))?;
    let (values, address) =
        if load { (b.operand(0)?, b.operand(1)?) } else { (b.operand(1)?, b.operand(0)?) };
    let Operand::Address { base, offset } = address else {
        return Err(format!("operand {address:?} is not an address"));
    };
    let (space, offset) = place_address(b, spelling.space, base, *offset)?;
    let offset = i32::try_from(offset).map_err(|_| format!("offset {offset} does not fit 32 bits"))?;
    let mut form =
        Form::new(offset).ordered(spelling.ordering, spelling.scope).with_wide_address(wide(b, base)?);
    let parts = match values {
        Operand::Vector(parts) => &parts[..],
        one => std::slice::from_ref(one),
    };
    if parts.len() != spelling.vector {
        return Err(format!("has {} values, expected {}", parts.len(), spelling.vector));
    }
    let mut register_bytes = spelling.ty.size().max(2);
    for (i, part) in parts.iter().enumerate() {
        let width = if load {
            b.wide_destination(i, part, spelling.ty)?
        } else {
            b.wide_source(i, part, spelling.ty)?
        };
        register_bytes = match (width, part) {
            (Width::Double, _) => 8,
            (_, Operand::Register(id)) => b.scope.register_type(*id).size().max(2),
            _ => register_bytes,
        };
    }
    if spelling.policy {
        b.source(ADDRESS + 1, b.operand(2)?, Type::B64)?;
    }
    let signed = matches!(spelling.ty, Type::S8 | Type::S16 | Type::S32 | Type::S64);
    form = form.extended(register_bytes, signed);
    b.set_imm(form.0);
    b.emit(Exec::Warp(handler(b.isa, load, space, spelling.ty.size(), spelling.vector)?))
}

/// Resolves the space of an address and puts its base at the address slot. Gives the space and the offset.
pub fn place_address<'a>(
    b: &mut Builder<'_>,
    space: Option<&'a str>,
    base: &Operand,
    offset: i64,
) -> Result<(Option<&'a str>, i64), String> {
    let place = match base {
        Operand::Symbol(name, _) => b.scope.places.get(name).copied(),
        _ => None,
    };
    match (base, place) {
        (Operand::Symbol(name, extra), Some(Place::Frame(_)))
            if matches!(space, Some("local" | "param" | "param::func")) =>
        {
            let address = b.scope.temporary(Type::B64);
            special::frame_address(b, &address, name, *extra, Type::B64)?;
            b.address(ADDRESS, &address, Type::B64)?;
            Ok((Some("local"), offset))
        }
        (_, Some(Place::Kernel(_))) if !matches!(space, Some("param" | "param::entry")) => {
            Err("the address of a parameter is used in another space".into())
        }
        (Operand::Register(id), _) => {
            let ty = b.scope.register_type(*id);
            b.address(ADDRESS, base, if ty.size() == 4 { Type::B32 } else { Type::B64 })?;
            Ok((space, offset))
        }
        _ => {
            b.address(ADDRESS, base, Type::B64)?;
            Ok((space, offset))
        }
    }
}

fn wide(b: &Builder<'_>, base: &Operand) -> Result<bool, String> {
    Ok(match base {
        Operand::Register(id) => b.scope.register_type(*id).size() == 8,
        _ => true,
    })
}

fn spell(b: &Builder<'_>, load: bool) -> Result<Spelling, String> {
    let mut s = Spelling {
        space: None,
        ordering: Ordering::Weak,
        scope: Scope::System,
        vector: 1,
        ty: Type::B32,
        policy: false,
    };
    let (last, rest) = b.source.modifiers.split_last().ok_or("has no type")?;
    s.ty = Type::parse(last)
        .filter(|t| t.size() > 0 && t.size() <= 8)
        .ok_or_else(|| format!("unknown type {last}"))?;
    for m in rest {
        match m.as_str() {
            "global" => s.space = Some("global"),
            "shared" | "shared::cta" => s.space = Some("shared"),
            "local" => s.space = Some("local"),
            "const" if load => s.space = Some("const"),
            "param" | "param::entry" | "param::func" => s.space = Some("param"),
            "weak" => s.ordering = Ordering::Weak,
            "volatile" => s.ordering = Ordering::Volatile,
            "relaxed" => s.ordering = Ordering::Relaxed,
            "acquire" if load => s.ordering = Ordering::Acquire,
            "release" if !load => s.ordering = Ordering::Release,
            "nc" if load => s.ordering = Ordering::NonCoherent,
            "cta" => s.scope = Scope::Block,
            "cluster" => s.scope = Scope::Cluster,
            "gpu" => s.scope = Scope::Device,
            "sys" => s.scope = Scope::System,
            // Where data is kept on its way does not change what it is.
            "ca" | "cg" | "cs" | "cv" | "lu" | "wb" | "wt" => {}
            "L2::cache_hint" if !s.policy => s.policy = true,
            hint if HINTS.contains(&hint) => {}
            "v2" => s.vector = 2,
            "v4" => s.vector = 4,
            "v8" => s.vector = 8,
            other => return Err(format!("unknown modifier {other}")),
        }
    }
    if s.vector * s.ty.size() > 32 || (s.vector * s.ty.size() > 16 && b.scope.arch < 100) {
        return Err(format!("{} bytes at once are too many", s.vector * s.ty.size()));
    }
    Ok(s)
}

fn handler(
    isa: Isa,
    load: bool,
    space: Option<&str>,
    element: usize,
    vector: usize,
) -> Result<WarpFn, String> {
    // Each instruction set costs compile time: only words and vectors of words in global and shared memory get their own versions.
    macro_rules! sizes {
        ($run:path $(, $region:ty)?) => {{
            use $run as run;
            match (element, vector) {
                (1, 1) => run::<$($region,)? Elements<1, 1>>,
                (1, 2) => run::<$($region,)? Elements<1, 2>>,
                (1, 4) => run::<$($region,)? Elements<1, 4>>,
                (2, 1) => run::<$($region,)? Elements<2, 1>>,
                (2, 2) => run::<$($region,)? Elements<2, 2>>,
                (2, 4) => run::<$($region,)? Elements<2, 4>>,
                (4, 1) => run::<$($region,)? Elements<4, 1>>,
                (4, 2) => run::<$($region,)? Elements<4, 2>>,
                (4, 4) => run::<$($region,)? Elements<4, 4>>,
                (4, 8) => run::<$($region,)? Elements<4, 8>>,
                (8, 1) => run::<$($region,)? Elements<8, 1>>,
                (8, 2) => run::<$($region,)? Elements<8, 2>>,
                (8, 4) => run::<$($region,)? Elements<8, 4>>,
                _ => return Err(format!("{vector} elements of {element} bytes")),
            }
        }};
    }
    macro_rules! words {
        ($versions:ident, $body:path, $region:ty) => {
            match (element, vector) {
                (4, 1) => access::$versions::<$region, Elements<4, 1>>(isa),
                (4, 2) => access::$versions::<$region, Elements<4, 2>>(isa),
                (4, 4) => access::$versions::<$region, Elements<4, 4>>(isa),
                _ => sizes!($body, $region),
            }
        };
    }
    Ok(match (load, space) {
        (true, Some("param")) => sizes!(uniform::load_body),
        (true, Some("shared")) => words!(load, access::load_body, Shared),
        (true, Some("local")) => sizes!(access::load_body, Local),
        (true, Some("global" | "const")) => words!(load, access::load_body, Global),
        (true, None) => sizes!(generic::load),
        (false, Some("shared")) => words!(store, access::store_body, Shared),
        (false, Some("local")) => sizes!(access::store_body, Local),
        (false, Some("global")) => words!(store, access::store_body, Global),
        (false, None) => sizes!(generic::store),
        (_, other) => return Err(format!("space {other:?} is not supported here")),
    })
}
