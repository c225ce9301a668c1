//! Codes of languages: what containers write, as ISO 639-2 has it.
//!
//! Owns the table from ISO 639-1 (two letters, what GStreamer's tags prefer) to the three letters of
//! ISO 639-2/T. Knows nothing else.

/// Two letters and the three that mean the same.
const PAIRS: &str = "aaaar ababk aeave afafr akaka amamh anarg arara asasm avava ayaym azaze babak bebel bgbul bhbih \
     bibis bmbam bnben bobod brbre bsbos cacat ceche chcha cocos crcre csces cuchu cvchv cycym dadan \
     dedeu dvdiv dzdzo eeewe elell eneng eoepo esspa etest eueus fafas ffful fifin fjfij fofao frfra \
     fyfry gagle gdgla glglg gngrn guguj gvglv hahau heheb hihin hohmo hrhrv hthat huhun hyhye hzher \
     iaina idind ieile igibo iiiii ikipk ioido isisl itita iuiku jajpn jvjav kakat kgkon kikik kjkua \
     kkkaz klkal kmkhm knkan kokor krkau kskas kukur kvkom kwcor kykir lalat lbltz lglug lilim lnlin \
     lolao ltlit lulub lvlav mgmlg mhmah mimri mkmkd mlmal mnmon mrmar msmsa mtmlt mymya nanau nbnob \
     ndnde nenep ngndo nlnld nnnno nonor nrnbl nvnav nynya ococi ojoji omorm orori ososs papan pipli \
     plpol pspus ptpor quque rmroh rnrun roron rurus rwkin sasan scsrd sdsnd sesme sgsag sisin skslk \
     slslv smsmo snsna sosom sqsqi srsrp ssssw stsot susun svswe swswa tatam tetel tgtgk ththa titir \
     tktuk tltgl tntsn toton trtur tstso tttat twtwi tytah uguig ukukr ururd uzuzb veven vivie vovol \
     wawln wowol xhxho yiyid yoyor zazha zhzho zuzul";

/// The three-letter code of `text`, which may be of two or three letters, or a tag such as `en-GB`;
/// `None` for the undetermined and for what is no code.
pub(super) fn three_letters(text: &str) -> Option<String> {
    let code = text.split(['-', '_']).next().unwrap_or(text).to_ascii_lowercase();
    match code.len() {
        2 => PAIRS.split(' ').find_map(|pair| pair.strip_prefix(code.as_str())).map(str::to_owned),
        3 if code != "und" && code.bytes().all(|letter| letter.is_ascii_lowercase()) => Some(code),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_three_letters() {
        assert!(PAIRS.split(' ').all(|pair| pair.len() == 5));
        for (text, code) in
            [("en", Some("eng")), ("de", Some("deu")), ("pt-BR", Some("por")), ("jpn", Some("jpn"))]
        {
            assert_eq!(three_letters(text).as_deref(), code, "{text}");
        }
        assert_eq!(three_letters("und"), None);
        assert_eq!(three_letters("xx"), None);
        assert_eq!(three_letters(""), None);
    }
}
