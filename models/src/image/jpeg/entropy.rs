//! Entropy decoding, from bits to quantised coefficients of 8 x 8 blocks: ITU-T T.81, annexes F (sequential) and G (progressive).

use super::{JpegError, ZIGZAG};

/// Maximum code length of the lookup table.
const FAST: u32 = 9;

/// A Huffman table.
pub(super) struct Huffman {
    /// For every prefix of [`FAST`] bits: the length of the code and its value, or length 0 for a longer code.
    fast: Vec<(u8, u8)>,
    /// Per length 1..=16: one more than the last code of that length, left-aligned to 16 bits.
    end: [u32; 17],
    /// Per length: offset from a code to its index in `values`.
    offset: [i32; 17],
    values: Vec<u8>,
}

impl Huffman {
    /// Reads the counts per length and the values; also returns the number of bytes.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), JpegError> {
        let counts = bytes.get(..16).ok_or("a Huffman table is too short")?;
        let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
        let values = bytes.get(16..16 + total).ok_or("a Huffman table is too short")?.to_vec();
        let mut table = Self { fast: vec![(0, 0); 1 << FAST], end: [0; 17], offset: [0; 17], values };
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16 {
            let count = usize::from(counts[length as usize - 1]);
            table.offset[length as usize] = index as i32 - code as i32;
            for &value in &table.values[index..index + count] {
                if code >= 1 << length {
                    return Err("a Huffman table has too many codes".into());
                }
                if length <= FAST {
                    let first = (code << (FAST - length)) as usize;
                    table.fast[first..first + (1 << (FAST - length))].fill((length as u8, value));
                }
                code += 1;
            }
            index += count;
            table.end[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok((table, 16 + total))
    }
}

/// The bits of a scan. Zeros follow its end; [`is_overrun`](Self::is_overrun) reports them.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    position: usize,
    /// The next bits, first one highest. `count` of them are loaded; the last `missing` of these are beyond the data.
    bits: u64,
    count: u32,
    missing: u32,
}

impl<'a> Bits<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, position: 0, bits: 0, count: 0, missing: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.data[self.position.min(self.data.len())..] {
                [0xFF, 0x00, ..] => {
                    self.position += 2;
                    0xFF
                }
                [] | [0xFF, ..] => {
                    self.missing += 8;
                    0
                }
                [byte, ..] => {
                    self.position += 1;
                    byte
                }
            };
            self.bits |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// Peeks at the next `n` bits, 0 to 16.
    fn peek(&mut self, n: u32) -> u32 {
        if self.count < n {
            self.fill();
        }
        ((self.bits >> 32) >> (32 - n)) as u32
    }

    fn skip(&mut self, n: u32) {
        self.bits <<= n;
        self.count -= n;
    }

    fn take(&mut self, n: u32) -> u32 {
        let value = self.peek(n);
        self.skip(n);
        value
    }

    /// A signed value of `n` bits (figure F.12).
    fn take_signed(&mut self, n: u32) -> i32 {
        let value = self.take(n) as i32;
        if n > 0 && value < 1 << (n - 1) { value - (1 << n) + 1 } else { value }
    }

    fn decode(&mut self, table: Option<&Huffman>) -> Result<u8, JpegError> {
        let table = table.ok_or("a Huffman table is missing")?;
        let next = self.peek(16);
        let (length, value) = table.fast[(next >> (16 - FAST)) as usize];
        if length > 0 {
            self.skip(u32::from(length));
            return Ok(value);
        }
        let length = (FAST + 1..=16).find(|&n| next < table.end[n as usize]).ok_or("a code that is in no Huffman table")?;
        self.skip(length);
        let index = (next >> (16 - length)) as i32 + table.offset[length as usize];
        usize::try_from(index).ok().and_then(|p| table.values.get(p)).copied().ok_or("a code that is in no Huffman table".into())
    }

    /// Whether more bits were read than precede the next marker.
    pub fn is_overrun(&self) -> bool {
        self.count < self.missing
    }

    /// Whether the file ended, rather than the scan.
    pub fn at_end(&self) -> bool {
        self.position + 1 >= self.data.len()
    }

    /// Continues after the restart marker.
    pub fn restart(&mut self) -> Result<(), JpegError> {
        match super::next_marker(self.rest())? {
            (0xD0..=0xD7, after) => *self = Self::new(after),
            _ => return Err("a restart marker is missing".into()),
        }
        Ok(())
    }

    /// Unread data, up to the next marker only.
    pub fn rest(&self) -> &'a [u8] {
        &self.data[self.position..]
    }
}

/// The state of a scan between blocks.
pub(super) struct Scan {
    progressive: bool,
    /// Spectral selection: coefficients first..=last.
    first: usize,
    last: usize,
    /// Whether earlier scans gave the higher bits.
    refines: bool,
    /// Lowest bit of this scan.
    shift: u32,
    /// Last DC coefficient of each component of the scan.
    previous: [i32; 4],
    /// Number of following blocks without non-zero coefficients.
    zero_blocks: u32,
}

impl Scan {
    pub fn sequential() -> Self {
        Self { progressive: false, first: 0, last: 63, refines: false, shift: 0, previous: [0; 4], zero_blocks: 0 }
    }

    pub fn progressive(first: usize, last: usize, high: u8, low: u8) -> Result<Self, JpegError> {
        if last > 63 || first > last || first == 0 && last > 0 || low > 13 {
            return Err("a scan of impossible coefficients".into());
        }
        Ok(Self { progressive: true, first, last, refines: high > 0, shift: u32::from(low), ..Self::sequential() })
    }

    pub fn has_dc(&self) -> bool {
        self.first == 0
    }

    pub fn restart(&mut self) {
        self.previous = [0; 4];
        self.zero_blocks = 0;
    }

    /// Reads one block of component number `slot` of the scan.
    pub fn read_block(
        &mut self,
        stream: &mut Bits,
        slot: usize,
        dc: Option<&Huffman>,
        ac: Option<&Huffman>,
        block: &mut [i16; 64],
    ) -> Result<(), JpegError> {
        match (self.progressive, self.has_dc(), self.refines) {
            (false, ..) => {
                block[0] = self.read_dc(stream, slot, dc)?;
                read_ac(stream, ac, block)
            }
            (true, true, false) => {
                block[0] = self.read_dc(stream, slot, dc)?;
                Ok(())
            }
            (true, true, true) => {
                block[0] |= (stream.take(1) << self.shift) as i16;
                Ok(())
            }
            (true, false, false) => self.read_first_ac(stream, ac, block),
            (true, false, true) => self.refine_ac(stream, ac, block),
        }
    }

    fn read_dc(&mut self, stream: &mut Bits, slot: usize, dc: Option<&Huffman>) -> Result<i16, JpegError> {
        let size = u32::from(stream.decode(dc)?);
        if size > 15 {
            return Err("a coefficient is too large".into());
        }
        self.previous[slot] = self.previous[slot].wrapping_add(stream.take_signed(size));
        Ok((self.previous[slot] << self.shift) as i16)
    }

    fn read_first_ac(&mut self, stream: &mut Bits, ac: Option<&Huffman>, block: &mut [i16; 64]) -> Result<(), JpegError> {
        if self.zero_blocks > 0 {
            self.zero_blocks -= 1;
            return Ok(());
        }
        let mut k = self.first;
        while k <= self.last {
            let code = stream.decode(ac)?;
            let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
            match (run, size) {
                (15, 0) => k += 16,
                (_, 0) => {
                    self.zero_blocks = (1 << run) - 1 + stream.take(run as u32);
                    break;
                }
                _ => {
                    k += run;
                    let value = stream.take_signed(size) << self.shift;
                    *ZIGZAG.get(k).map(|&index| &mut block[index]).ok_or("a block has too many coefficients")? = value as i16;
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn refine_ac(&mut self, stream: &mut Bits, ac: Option<&Huffman>, block: &mut [i16; 64]) -> Result<(), JpegError> {
        let bit = 1i16 << self.shift;
        let mut k = self.first;
        while self.zero_blocks == 0 && k <= self.last {
            let code = stream.decode(ac)?;
            let (mut run, size) = (code >> 4, code & 15);
            let mut new = 0;
            if size > 0 {
                new = if stream.take(1) == 1 { bit } else { -bit };
            } else if run < 15 {
                // Includes this block; its rest is refined below.
                self.zero_blocks = (1 << run) + stream.take(u32::from(run));
                break;
            }
            // Skips `run` zeros and refines the non-zero coefficients in between.
            while k <= self.last {
                let coefficient = &mut block[ZIGZAG[k]];
                if *coefficient != 0 {
                    refine(stream, coefficient, bit);
                } else if run == 0 {
                    *coefficient = new;
                    break;
                } else {
                    run -= 1;
                }
                k += 1;
            }
            k += 1;
        }
        if self.zero_blocks > 0 {
            for &index in &ZIGZAG[k..=self.last] {
                if block[index] != 0 {
                    refine(stream, &mut block[index], bit);
                }
            }
            self.zero_blocks -= 1;
        }
        Ok(())
    }
}

/// The AC coefficients of a sequential block.
fn read_ac(stream: &mut Bits, ac: Option<&Huffman>, block: &mut [i16; 64]) -> Result<(), JpegError> {
    let mut k = 1;
    while k < 64 {
        let code = stream.decode(ac)?;
        let (run, size) = (usize::from(code >> 4), u32::from(code & 15));
        if size == 0 && run < 15 {
            break;
        }
        k += run;
        if size > 0 {
            let value = stream.take_signed(size);
            *ZIGZAG.get(k).map(|&index| &mut block[index]).ok_or("a block has too many coefficients")? = value as i16;
        }
        k += 1;
    }
    Ok(())
}

/// Refines a non-zero coefficient by one bit.
fn refine(stream: &mut Bits, coefficient: &mut i16, bit: i16) {
    if stream.take(1) == 1 && *coefficient & bit == 0 {
        *coefficient = coefficient.wrapping_add(if *coefficient > 0 { bit } else { -bit });
    }
}
