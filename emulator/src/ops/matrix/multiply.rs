//! `mma.sync` and `wmma.mma`.
//!
//! A check that all lanes are there comes first; the products follow as pure arithmetic, so that they run in the version for the host's
//! vector instructions. A `wmma.mma` is two to four products of eight columns. Registers stand in the order D, A, B, C;
//! the immediate holds the [`Form`]. Sums are exact, or those of the device's tensor cores where errors of approximate instructions
//! are asked for (`jitter`).

use super::{accumulator, demand_target, element, emit_check, shape, vector};
use crate::{
    isa::{Isa, versions},
    machine::Registers,
    numeric::Round,
    program::{Builder, Exec, Instr, LaneFn},
    ptx::ast::{Operand, Type},
    tensor::{
        self, Accumulator, Adder, Lanes, Product, Sums, by_kind,
        multiply::Kind,
        wmma::{Order, in_order},
    },
};

/// A product as the immediate of an instruction holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    product: Product,
    sums: Sums,
    /// How the fragments of A and B were loaded.
    orders: (Order, Order),
}

const ADDERS: [Adder; 3] = [Adder::TURING, Adder::AMPERE, Adder::HOPPER];

impl Form {
    fn to_bits(self) -> i64 {
        let sums = match self.sums {
            Sums::Exact => 0,
            Sums::Truncating(adder) => ADDERS.iter().position(|&a| a == adder).map_or(0, |i| i as i64 + 1),
        };
        let column = |order| i64::from(order == Order::Column);
        i64::from(self.product.to_bits()) << 8
            | sums << 2
            | column(self.orders.0) << 1
            | column(self.orders.1)
    }

    #[inline(always)]
    fn from_bits(bits: i64) -> Form {
        let order = |bit: i64| if bits >> bit & 1 == 1 { Order::Column } else { Order::Row };
        let adder = (bits >> 2 & 3) as usize;
        Form {
            product: Product::from_bits((bits >> 8) as u32),
            sums: if adder == 0 { Sums::Exact } else { Sums::Truncating(ADDERS[adder - 1]) },
            orders: (order(1), order(0)),
        }
    }
}

/// Lowers `mma.sync.aligned`.
pub fn mma(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    let [size, "row", "col", rest @ ..] = modifiers else {
        return Err("expected a shape, row and col".into());
    };
    let size = shape(size).ok_or_else(|| format!("unknown shape {size}"))?;
    let (saturate, types) = match rest {
        ["satfinite", types @ ..] => (true, types),
        types => (false, types),
    };
    if let [.., "f64"] = types {
        return double(b, size, types);
    }
    let [d, ta, tb, c] = types else { return Err(format!("has {} types, expected 4", types.len())) };
    let product = match (element(ta), element(tb), accumulator(d)) {
        (Some(ta), Some(tb), Some(sum)) if d == c => Product::mma(size, ta, tb, sum, saturate),
        _ => None,
    };
    let product = product.ok_or("this shape does not exist with these types, or is not supported")?;
    demand_target(b, product.target())?;
    b.expect_operands(4)?;
    let n = (product.a().registers(), product.b().registers(), product.sums().registers());
    let d = vector(b.operand(0)?, n.2, "D")?;
    let a = vector(b.operand(1)?, n.0, "A")?;
    let bm = vector(b.operand(2)?, n.1, "B")?;
    let c = vector(b.operand(3)?, n.2, "C")?;
    emit_check(b)?;
    emit(b, product, (Order::Row, Order::Row), [d, a, bm, c])
}

/// Lowers `wmma.mma.sync.aligned`.
pub fn wmma(b: &mut Builder<'_>, modifiers: &[&str]) -> Result<(), String> {
    let [left, right, size, rest @ ..] = modifiers else {
        return Err("expected two layouts and a shape".into());
    };
    let size = shape(size).ok_or_else(|| format!("unknown shape {size}"))?;
    let (saturate, types) = match rest {
        [types @ .., "satfinite"] => (true, types),
        types => (false, types),
    };
    let (d, ta, tb, c) = match types {
        [d, c] => (d, "f16", "f16", c),
        [d, ta, tb, c] => (d, *ta, *tb, c),
        _ => return Err(format!("has {} types, expected 2 or 4", types.len())),
    };
    if types.len() == 4 && ta == "f16" {
        return Err("the types of f16 are those of D and C alone".into());
    }
    let orders = (super::fragments::order(left)?, super::fragments::order(right)?);
    let product = match (element(ta), element(tb), accumulator(d)) {
        (Some(ta), Some(tb), Some(sum)) if d == c => Product::wmma(size, ta, tb, sum, saturate),
        _ => None,
    };
    let product = product.ok_or("this shape does not exist with these types, or is not supported")?;
    demand_target(b, product.target())?;
    b.expect_operands(4)?;
    let matrices = tensor::wmma::matrices(&product);
    let [d, a, bm, c] =
        [(0, 2, "D"), (1, 0, "A"), (2, 1, "B"), (3, 2, "C")].map(|(i, matrix, what): (usize, usize, _)| {
            vector(b.operand(i)?, matrices[matrix].registers(), what)
        });
    let (d, a, bm, c) = (d?, a?, bm?, c?);
    emit_check(b)?;
    emit_parts(b, product, orders, [d, a, bm, c])
}

/// Emits the parts of a product. Where an earlier one would overwrite what a later one reads, results wait in temporaries.
fn emit_parts(
    b: &mut Builder<'_>,
    product: Product,
    orders: (Order, Order),
    [d, a, bm, c]: [&[Operand]; 4],
) -> Result<(), String> {
    let in_place = |i: usize| d[i] == c[i] || !c.contains(&d[i]);
    let safe = (0..d.len()).all(|i| !a.contains(&d[i]) && !bm.contains(&d[i]) && in_place(i));
    let results: Vec<Operand> =
        if safe { d.to_vec() } else { d.iter().map(|_| b.scope.temporary(Type::B32)).collect() };
    let pick = |from: &[Operand], of: Vec<usize>| -> Vec<Operand> {
        of.into_iter().filter_map(|r| from.get(r).cloned()).collect()
    };
    for part in product.parts() {
        let (d, c) = (pick(&results, part.sums()), pick(c, part.sums()));
        emit(b, part.product(), orders, [&d, &pick(a, part.a()), &pick(bm, part.b()), &c])?;
    }
    if !safe {
        for (d, result) in d.iter().zip(&results).filter(|(d, _)| **d != Operand::Sink) {
            crate::ops::moves::copy(b, d, result, Type::B32)?;
        }
    }
    Ok(())
}

fn emit(
    b: &mut Builder<'_>,
    product: Product,
    orders: (Order, Order),
    [d, a, bm, c]: [&[Operand]; 4],
) -> Result<(), String> {
    for (i, operand) in d.iter().enumerate() {
        b.destination(i, operand, Type::B32)?;
    }
    for (i, operand) in a.iter().chain(bm).chain(c).enumerate() {
        let sum = i >= a.len() + bm.len();
        let ty = if sum && product.types().2 == Accumulator::F32 { Type::F32 } else { Type::B32 };
        if let (Operand::Register(id), false) = (operand, sum)
            && b.scope.register_type(*id) == Type::F32
        {
            let name = b.scope.register_name(*id);
            return Err(format!(
                "register {name} of A or B has type F32, expected an untyped or integer one"
            ));
        }
        b.source(d.len() + i, operand, ty)?;
    }
    let sums = match b.scope.jitter {
        Some(_) if product.types().2 != Accumulator::S32 => Sums::Truncating(Adder::of(b.scope.arch)),
        _ => Sums::Exact,
    };
    b.set_imm(Form { product, sums, orders }.to_bits());
    b.emit(Exec::Lanes(handler(&product, b.isa)))
}

fn handler(product: &Product, isa: Isa) -> LaneFn {
    macro_rules! version {
        ($kind:ty) => {
            multiply::<$kind>(isa)
        };
    }
    by_kind!(product, version)
}

versions! {
    /// The handler of a product of this kind.
    fn multiply<K: Kind>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) -> () as LaneFn = multiply_body
}

#[inline(always)]
fn multiply_body<K: Kind>(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let form = Form::from_bits(instr.imm);
    let (na, nb) = (form.product.a().registers(), form.product.b().registers());
    let n = form.product.sums().registers();
    let mut inputs = [[0; 32]; 10];
    for (input, r) in inputs.iter_mut().zip(&instr.r[n..n + na + nb + n]) {
        *input = *registers.single(*r);
    }
    let (a, rest) = inputs[..na + nb + n].split_at_mut(na);
    let (b, c) = rest.split_at_mut(nb);
    reorder(a, form.orders.0);
    reorder(b, form.orders.1);
    let mut d: [Lanes; 4] = [[0; 32]; 4];
    K::run(&form.product, a, b, c, &mut d[..n], form.sums);
    for (lanes, r) in d[..n].iter().zip(instr.r) {
        if r != crate::program::NONE {
            registers.write_single(r, mask, lanes);
        }
    }
}

#[inline(always)]
fn reorder(registers: &mut [Lanes], order: Order) {
    if order == Order::Column {
        registers.iter_mut().for_each(|r| *r = in_order(order, r));
    }
}

/// `mma.sync` of `.f64`: D, A, B, C in pairs of registers.
fn double(b: &mut Builder<'_>, size: tensor::Shape, modifiers: &[&str]) -> Result<(), String> {
    let (round, types) = match modifiers {
        ["rn", types @ ..] => (Round::Rn, types),
        ["rz", types @ ..] => (Round::Rz, types),
        ["rm", types @ ..] => (Round::Rm, types),
        ["rp", types @ ..] => (Round::Rp, types),
        types => (Round::Rn, types),
    };
    let (m, k) = match (size, types) {
        ((8, 8, 4), ["f64", "f64", "f64", "f64"]) => (8, 4),
        ((16, 8, k @ (4 | 8)), ["f64", "f64", "f64", "f64"]) => (16, k),
        _ => return Err("this shape does not exist with these types, or is not supported".into()),
    };
    demand_target(b, if m == 8 { 80 } else { 90 })?;
    b.expect_operands(4)?;
    let d = vector(b.operand(0)?, m / 4, "D")?;
    let a = vector(b.operand(1)?, m * k / 32, "A")?;
    let bm = vector(b.operand(2)?, k / 4, "B")?;
    let c = vector(b.operand(3)?, m / 4, "C")?;
    emit_check(b)?;
    for (i, operand) in d.iter().enumerate() {
        b.destination(i, operand, Type::F64)?;
    }
    for (i, operand) in a.iter().chain(bm).chain(c).enumerate() {
        b.source(d.len() + i, operand, Type::F64)?;
    }
    b.set_imm((m << 8 | k) as i64);
    b.set_flags(
        [Round::Rn, Round::Rz, Round::Rm, Round::Rp].iter().position(|&r| r == round).unwrap_or(0) as u8
    );
    b.emit(Exec::Lanes(multiply_double))
}

fn multiply_double(registers: &mut Registers<'_>, mask: u32, instr: &Instr) {
    let (m, k) = ((instr.imm >> 8) as usize, (instr.imm & 0xff) as usize);
    let round = [Round::Rn, Round::Rz, Round::Rm, Round::Rp][usize::from(instr.flags & 3)];
    let read = |r: &u16| registers.double(*r).map(f64::from_bits);
    let (d, a, b) = (m / 4, m * k / 32, k / 4);
    let inputs: Vec<_> = instr.r[d..d + a + b + d].iter().map(read).collect();
    let result = tensor::multiply_f64(m, k, &inputs[..a], &inputs[a..a + b], &inputs[a + b..], round);
    for (lanes, r) in result.iter().zip(&instr.r[..d]) {
        if *r != crate::program::NONE {
            registers.write_double(*r, mask, &lanes.map(f64::to_bits));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Element;

    #[test]
    fn a_form_survives_the_immediate() {
        let all = [Element::F16, Element::Bf16, Element::Tf32, Element::E4m3, Element::E5m2]
            .into_iter()
            .chain([Element::S8, Element::U8, Element::S4, Element::U4]);
        let mut seen = 0;
        for (a, b) in all.clone().flat_map(|a| all.clone().map(move |b| (a, b))) {
            for k in [4, 8, 16, 32, 64] {
                for sum in [Accumulator::F16, Accumulator::F32, Accumulator::S32] {
                    for (m, saturate) in [(8, false), (16, true), (16, false), (8, true)] {
                        let Some(product) = Product::mma((m, 8, k), a, b, sum, saturate) else { continue };
                        for sums in
                            [Sums::Exact, Sums::Truncating(Adder::HOPPER), Sums::Truncating(Adder::TURING)]
                        {
                            let form = Form { product, sums, orders: (Order::Row, Order::Column) };
                            assert_eq!(Form::from_bits(form.to_bits()), form);
                            seen += 1;
                        }
                    }
                }
            }
        }
        assert!(seen > 100, "{seen} forms");
    }
}
