// The EICAR test file (eicar.org, "anti-malware test file"): these 68 bytes at the start of a file, and nothing behind them
// but white space and ends of file, up to 128 bytes altogether. A document that quotes the string is none. The bytes are
// written in hexadecimal, because scanners would otherwise take this file away.
rule Eicar_Test_File
{
    strings:
        $file = { 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24
                  45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55 53 2D 54 45 53 54
                  2D 46 49 4C 45 21 24 48 2B 48 2A }
    condition:
        filesize <= 128 and uint32be(0) == 0x58354F21 and $file at 0
        and (filesize == 68 or for all i in (68 .. filesize - 1) :
            (uint8(i) == 0x20 or uint8(i) == 0x09 or uint8(i) == 0x0A or uint8(i) == 0x0D or uint8(i) == 0x1A))
}
