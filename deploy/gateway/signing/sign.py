"""Signs a path, so that whoever has it may GET it from the gateway without a key.

    export KEY_ID=9fK2mQx07TbA SIGNING_KEY=...      as `ringmain gateway key add` has shown them
    python3 sign.py PATH [SECONDS]                  writes the signed path
"""

import base64
import hashlib
import hmac
import os
import sys
import time


def sign(path: str, exp: int, key_id: str, signing_key: str) -> str:
    """The path with its signature, good until `exp` (seconds since 1970)."""
    message = f"GET\n{path}\n{key_id}\n{exp}".encode()
    mac = hmac.new(signing_key.encode(), message, hashlib.sha256).digest()
    sig = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    return f"{path}{'&' if '?' in path else '?'}kid={key_id}&exp={exp}&sig={sig}"


if __name__ == "__main__":
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3600
    print(sign(sys.argv[1], int(time.time()) + seconds, os.environ["KEY_ID"], os.environ["SIGNING_KEY"]))
