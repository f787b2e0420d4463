"""Writes vocab.txt: a small WordPiece vocabulary with enough Chinese and English for the tests.

    python3 make_vocab.py
"""

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHINESE = "请编写一篇关于人工智能的文章你好世界我们今天去看电影吧很久之前事情了他说"
PUNCTUATION = "，。！？：；（）“”《》、.,!?:;'\"()-"
WORDS = ["hello", "world", "gpt", "the", "a", "is", "play", "un", "want", "don", "it", "t", "s"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
CONTINUATIONS = ["##ing", "##ed", "##able", "##s"] + ["##" + c for c in LETTERS]

tokens = SPECIAL + list(CHINESE) + list(PUNCTUATION) + WORDS + list(LETTERS) + CONTINUATIONS
tokens = list(dict.fromkeys(tokens))
with open("vocab.txt", "w", encoding="utf-8") as file:
    file.write("".join(token + "\n" for token in tokens))
