// Web shells in their generic shape: a page that the server runs and that hands what the visitor sent straight to an
// interpreter or to the system's shell. Each rule asks for the tag that makes the file run at the file's very start, or
// anywhere in a picture, so that articles and documentation that show such code do not match. The bound on the size is also
// what keeps large uploads cheap: YARA-X searches for no pattern whose rule cannot match.
//
// Every rule compares a few bytes at the start before it names a pattern, because YARA-X searches for the patterns of all
// rules as soon as a condition asks for one: so it searches in nothing but what begins with a tag or as a picture. A search
// of 16 KiB made for it takes 20 ms, so `_SEARCHED` in scanners/yara.py, which must know all these beginnings, keeps what
// will be searched off the event loop.

rule PHP_Web_Shell
{
    strings:
        $tag = "<?php" nocase
        $short_tag = "<?="
        $run = /(eval|assert|system|exec|passthru|popen|proc_open|create_function|call_user_func)\s{0,8}\(\s{0,8}((base64_decode|gzinflate|gzuncompress|str_rot13|strrev|stripslashes|urldecode|hex2bin|trim)\s{0,8}\(\s{0,8}){0,4}@?\$_(GET|POST|REQUEST|COOKIE|SERVER)/ nocase
        $run_by_name = /\$_(GET|POST|REQUEST|COOKIE)\s{0,8}\[[^\]\n]{1,64}\]\s{0,8}\(\s{0,8}@?\$_(GET|POST|REQUEST|COOKIE)/
        $backticks = /`\s{0,8}\{?\$_(GET|POST|REQUEST|COOKIE)[^`\n]{0,64}`/
    condition:
        filesize < 1MB
        and for any i in (0 .. 4) : (uint16be(i) == 0x3C3F and (uint8(i + 2) == 0x3D or uint8(i + 2) | 0x20 == 0x70))
        and ($tag in (0 .. 4) or $short_tag in (0 .. 4)) and any of ($run, $run_by_name, $backticks)
}

rule PHP_Web_Shell_In_Picture
{
    strings:
        $tag = "<?php" nocase
        $short_tag = "<?="
        $run = /(eval|assert|system|exec|passthru|popen|proc_open)\s{0,8}\(\s{0,8}((base64_decode|gzinflate|str_rot13|stripslashes)\s{0,8}\(\s{0,8}){0,4}@?\$_(GET|POST|REQUEST|COOKIE|SERVER)/ nocase
        $backticks = /`\s{0,8}\{?\$_(GET|POST|REQUEST|COOKIE)[^`\n]{0,64}`/
    condition:
        filesize < 8MB and (uint32be(0) == 0x89504E47 or uint16be(0) == 0xFFD8 or uint32be(0) == 0x47494638)
        and ($tag or $short_tag) and ($run or $backticks)
}

rule PHP_Hidden_Evaluation
{
    strings:
        $tag = "<?php" nocase
        $unfolded = /(eval|assert)\s{0,8}\(\s{0,8}((gzinflate|gzuncompress|str_rot13|strrev|base64_decode)\s{0,8}\(\s{0,8}){2,6}['"]/ nocase
    condition:
        filesize < 1MB and for any i in (0 .. 4) : (uint16be(i) == 0x3C3F and uint8(i + 2) | 0x20 == 0x70)
        and $tag in (0 .. 4) and $unfolded
}

rule JSP_Web_Shell
{
    strings:
        $tag = "<%"
        $run = /\.exec\s{0,8}\(\s{0,8}request\s{0,8}\.\s{0,8}getParameter\s{0,8}\(/
        $runtime = /Runtime\s{0,8}\.\s{0,8}getRuntime\s{0,8}\(\s{0,8}\)\s{0,8}\.\s{0,8}exec\s{0,8}\(/
        $builder = /new\s{1,8}ProcessBuilder\s{0,8}\(/
        $parameter = /request\s{0,8}\.\s{0,8}getParameter\s{0,8}\(/
    condition:
        filesize < 1MB and for any i in (0 .. 4) : (uint16be(i) == 0x3C25)
        and $tag in (0 .. 4) and ($run or ($parameter and any of ($runtime, $builder)))
}

rule ASP_Web_Shell
{
    strings:
        $tag = "<%"
        $evaluate = /(eval|execute|executeglobal)\s{0,8}\(?\s{0,8}request\s{0,8}(\.\s{0,8}(item|form|querystring)\s{0,8})?[\[(]/ nocase
        $process = /(Process\s{0,8}\.\s{0,8}Start\s{0,8}\(|new\s{1,8}ProcessStartInfo\b|CreateObject\s{0,8}\(\s{0,8}"WScript\.Shell")/ nocase
        $input = /\bRequest\s{0,8}(\.\s{0,8}(Item|Form|QueryString|Params)\s{0,8})?[\[(]/ nocase
    condition:
        filesize < 1MB and for any i in (0 .. 4) : (uint16be(i) == 0x3C25)
        and $tag in (0 .. 4) and ($evaluate or ($process and $input))
}
