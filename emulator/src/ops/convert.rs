pub fn lower(b: &mut crate::program::Builder<'_>) -> Result<(), String> {
    let _ = b;
    Err("unknown".into())
}
