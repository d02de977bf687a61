pub fn new_key() -> Result<(String, [u8; 32]), std::io::Error> { Ok((String::new(), [0; 32])) }
