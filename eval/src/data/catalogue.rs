//! The sets that `herd data get` knows: address, digest and licence.
//!
//! Addresses are pinned to a commit. Digests are of the unpacked files.

/// A set.
#[derive(Debug)]
pub struct Set {
    /// The name of the set and of its folder.
    pub name: &'static str,
    /// A description.
    pub about: &'static str,
    /// Its licence.
    pub licence: &'static str,
    /// The source of the set.
    pub source: Source,
}

/// The source of a set.
#[derive(Debug)]
pub enum Source {
    /// These files are downloaded.
    Files(&'static [RemoteFile]),
    /// The set cannot be downloaded; this message says how to place it.
    Place(&'static str),
}

/// A file of a set.
#[derive(Debug)]
pub struct RemoteFile {
    /// The path in the data folder, unpacked.
    pub path: &'static str,
    /// The official address; the file may be compressed with gzip.
    pub url: &'static str,
    /// SHA-256 of the unpacked file.
    pub sha256: &'static str,
}

/// All known sets.
pub const SETS: &[Set] = &[
    Set {
        name: "gsm8k",
        about: "GSM8K, 7,473 grade-school problems to train on and 1,319 to test (Cobbe et al. 2021)",
        licence: "MIT",
        source: Source::Files(&[
            RemoteFile {
                path: "gsm8k/train.jsonl",
                url: "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data/train.jsonl",
                sha256: "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            },
            RemoteFile {
                path: "gsm8k/test.jsonl",
                url: "https://raw.githubusercontent.com/openai/grade-school-math/3101c7d5072418e28b9008a6636bde82a006892c/grade_school_math/data/test.jsonl",
                sha256: "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            },
        ]),
    },
    Set {
        name: "svamp",
        about: "SVAMP, 1,000 word problems with misleading parts (Patel et al. 2021), as Qwen2.5-Math's evaluation \
         has them",
        licence: "MIT",
        source: Source::Files(&[RemoteFile {
            path: "svamp/test.jsonl",
            url: "https://raw.githubusercontent.com/QwenLM/Qwen2.5-Math/a45202bd16f1ec06f433442dc1152d0074773465/evaluation/data/svamp/test.jsonl",
            sha256: "d0826ff1264f3860e46fc4e71db9e31d2d188960db87090e22677f9493e67a0d",
        }]),
    },
    Set {
        name: "humaneval",
        about: "HumanEval, 164 Python functions from docstrings (Chen et al. 2021)",
        licence: "MIT",
        source: Source::Files(&[RemoteFile {
            path: "humaneval/HumanEval.jsonl",
            url: "https://raw.githubusercontent.com/openai/human-eval/6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
            sha256: "1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
        }]),
    },
    Set {
        name: "humaneval_plus",
        about: "HumanEval+, HumanEval with many more tests (Liu et al. 2023)",
        licence: "Apache-2.0",
        source: Source::Files(&[RemoteFile {
            path: "humaneval_plus/HumanEvalPlus.jsonl",
            url: "https://raw.githubusercontent.com/evalplus/humanevalplus_release/200defce9e3429d28ca215b6dd061c0f7f31c18b/HumanEvalPlus.jsonl.gz",
            sha256: "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f",
        }]),
    },
    Set {
        name: "mbpp",
        about: "MBPP, 974 Python functions from a sentence, and the 427 sanitised ones (Austin et al. 2021), from a \
         copy in ahmedfahad04/PromptMark",
        licence: "CC-BY-4.0",
        source: Source::Files(&[
            RemoteFile {
                path: "mbpp/mbpp.jsonl",
                url: "https://raw.githubusercontent.com/ahmedfahad04/PromptMark/c04c8f61db1f0ec7ba2f213f4aa1a15787af484e/datasets/sanitized-mbpp-raw.jsonl",
                sha256: "ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
            },
            RemoteFile {
                path: "mbpp/sanitized-mbpp.json",
                url: "https://raw.githubusercontent.com/ahmedfahad04/PromptMark/c04c8f61db1f0ec7ba2f213f4aa1a15787af484e/datasets/sanitized-mbpp.json",
                sha256: "9a75000aa32dcab3706b488427405fdf8555d5ba69bb741b1bdcb51194a362c9",
            },
        ]),
    },
    Set {
        name: "mbpp_plus",
        about: "MBPP+, 378 functions of MBPP with many more tests (Liu et al. 2023)",
        licence: "Apache-2.0",
        source: Source::Files(&[RemoteFile {
            path: "mbpp_plus/MbppPlus.jsonl",
            url: "https://raw.githubusercontent.com/evalplus/mbppplus_release/dadf43da556a00f7bacd71cb154f2932757d9144/MbppPlus.jsonl.gz",
            sha256: "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad",
        }]),
    },
    Set {
        name: "ifeval",
        about: "IFEval, 541 prompts with verifiable instructions (Zhou et al. 2023), from a copy in \
         Zhe-Young/SelfCorrectDecompose",
        licence: "Apache-2.0",
        source: Source::Files(&[RemoteFile {
            path: "ifeval/ifeval.jsonl",
            url: "https://raw.githubusercontent.com/Zhe-Young/SelfCorrectDecompose/44e8634d139276766460dd5ab84ee5c7a3f83540/data/ifeval.jsonl",
            sha256: "96b2536a5c1a7a92f99093e4678dcc2f86a0ad60b1d2caebd962647e5bba7937",
        }]),
    },
    Set {
        name: "xstest",
        about: "XSTest, 250 safe prompts that look unsafe and 200 unsafe ones (Röttger et al. 2024)",
        licence: "CC-BY-4.0",
        source: Source::Files(&[RemoteFile {
            path: "xstest/xstest_prompts.csv",
            url: "https://raw.githubusercontent.com/paul-rottger/exaggerated-safety/d7bb5bd738c1fcbc36edd83d5e7d1b71a3e2d84d/xstest_prompts.csv",
            sha256: "11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a",
        }]),
    },
    Set {
        name: "math",
        about: "MATH, 5,000 competition problems to test (Hendrycks et al. 2021)",
        licence: "MIT",
        source: Source::Place(
            "put a JSONL file with the fields problem, answer or solution, subject and level at math/test.jsonl, for \
             example the test split of a copy of MATH or MATH-500 from the Hugging Face hub (Parquet works too: \
             math/test.parquet).",
        ),
    },
    Set {
        name: "arc",
        about: "ARC, science questions (Clark et al. 2018)",
        licence: "CC-BY-SA-4.0",
        source: Source::Place(
            "unpack ARC-V1-Feb2018.zip of the Allen Institute for AI and put ARC-Challenge-Test.jsonl at \
             arc/ARC-Challenge-Test.jsonl, or the test split of allenai/ai2_arc at arc/test.parquet.",
        ),
    },
    Set {
        name: "mmlu",
        about: "MMLU, 14,042 questions in 57 subjects (Hendrycks et al. 2021)",
        licence: "MIT",
        source: Source::Place(
            "put the test split of cais/mmlu (columns question, subject, choices, answer) at mmlu/test.parquet or \
             mmlu/test.jsonl.",
        ),
    },
];
