"""The HTTP back end against llama.cpp's server for Python, with a tiny model of random weights.

    http_real_server.py HTTP_ASK

Leaves with 77 (skipped) where Python lacks `llama-cpp-python[server]` (tried: 0.3.36) or `gguf`
(0.19.0). WHYREC_SERVER_PYTHON names another interpreter that has them.
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

WORDS = """time year people way day man thing world life hand part work week case point home water
room money book word side door name team air game food city tree road house""".split()


def tiny_model(path, np, gguf):
    """A llama of 2 layers. Its words are those of the canary prompt, the rest is bytes."""
    width, heads, layers, inner = 32, 2, 2, 64
    tokens, types = ["<unk>", "<s>", "</s>"], [2, 3, 3]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>")
        types.append(6)
#Pieces are merged from left to right, so every beginning of a word is one.
    pieces = {"\u2581" + word[:n] for word in WORDS for n in range(len(word) + 1)}
    pieces |= set("abcdefghijklmnopqrstuvwxyzL:0123456789")
    for piece in sorted(pieces, key=lambda p: (len(p), p)):
        tokens.append(piece)
        types.append(1)
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(65536)
    out.add_embedding_length(width)
    out.add_block_count(layers)
    out.add_feed_forward_length(inner)
    out.add_head_count(heads)
    out.add_head_count_kv(heads)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_dimension_count(width // heads)
    out.add_vocab_size(len(tokens))
    out.add_tokenizer_model("llama")
    out.add_token_list(tokens)
    out.add_token_scores([float(len(token)) for token in tokens])
    out.add_token_types(types)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    out.add_unk_token_id(0)
    out.add_chat_template("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    rng = np.random.default_rng(1)

    def matrix(name, rows, columns):
        out.add_tensor(name, rng.normal(0, 0.3, (rows, columns)).astype(np.float32))

    matrix("token_embd.weight", len(tokens), width)
    matrix("output.weight", len(tokens), width)
    out.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for i in range(layers):
        for name in ("attn_norm", "ffn_norm"):
            out.add_tensor(f"blk.{i}.{name}.weight", np.ones(width, np.float32))
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{i}.{name}.weight", width, width)
        matrix(f"blk.{i}.ffn_gate.weight", inner, width)
        matrix(f"blk.{i}.ffn_up.weight", inner, width)
        matrix(f"blk.{i}.ffn_down.weight", width, inner)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


class Server:
    def __init__(self, model, context):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llama_cpp.server", "--model", model, "--model_alias", "tiny",
             "--n_ctx", str(context), "--n_threads", "1", "--host", "127.0.0.1", "--port",
             str(port)], stdout=self.log, stderr=self.log)
        for _ in range(300):
            try:
                urllib.request.urlopen(self.url + "/models", timeout=2).read()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.2)
        self.log.seek(0)
        sys.exit("the server did not start:\n" + self.log.read()[-4000:])

    def stop(self):
        self.process.kill()
        self.process.wait()


def main():
    python = os.environ.get("WHYREC_SERVER_PYTHON")
    if python and os.path.abspath(python) != os.path.abspath(sys.executable):
        os.execv(python, [python] + sys.argv)
    try:
        import gguf
        import numpy as np
        import llama_cpp.server.app  # noqa: F401
    except ImportError as problem:
        print("skipped:", problem)
        sys.exit(77)

    def ask(url, route, n, words):
        return subprocess.run([sys.argv[1], url, route, str(n), str(words)], capture_output=True,
                              text=True, timeout=300)

    def check(holds, *what):
        if not holds:
            sys.exit("wrong: " + " ".join(str(part) for part in what))

    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "tiny.gguf")
        tiny_model(model, np, gguf)
        server = Server(model, 8192)
        try:
            for route in ("CHAT", "COMPLETIONS"):
                done = ask(server.url, route, 6, 100)
                check(done.returncode == 0, route, done.returncode, done.stderr)
                replies = [json.loads(line) for line in done.stdout.splitlines()]
                print(route, done.stdout.splitlines()[0], done.stderr)
                check(len(replies) == 6, len(replies), "replies")
                for reply in replies:
                    check(reply["model"] == "tiny", reply)
                    check(100 <= reply["tokens_in"] <= 400, reply)
                    check(0 < reply["tokens_out"] <= 24, reply)  # it counts the text anew
                    check(reply["differs"] == "", reply)
                check(len({reply["seed"] for reply in replies}) == 6, replies)
                check(sum(bool(reply["text"]) for reply in replies) >= 4, replies)
        finally:
            server.stop()
        gone = ask(server.url, "CHAT", 1, 10)
        print("unreachable:", gone.returncode, gone.stderr)
        check(gone.returncode == 69 and server.url in gone.stderr, gone)

        server = Server(model, 2048)  # too little for the canary
        try:
            small = ask(server.url, "CHAT", 1, 10)
            print("small context:", small.returncode, small.stderr)
            check(small.returncode == 65 and "-c" in small.stderr, small)
        finally:
            server.stop()


main()
