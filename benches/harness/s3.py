"""A MinIO on a free loopback port for one measurement, and the least of an S3 client to fill it.

Standard library only: requests are signed by AWS's Signature Version 4 with an unsigned payload.
"""

import datetime
import hashlib
import hmac
import http.client
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

KEY, SECRET, REGION = "bench-user", "bench-password", "us-east-1"
PART = 256 << 20  # bytes of a part; S3 allows 10 000 parts and 5 GiB each


class Minio:
    def __init__(self, binary, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = open(f"{folder}.log", "w")
        self.process = subprocess.Popen(
            [binary, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", folder],
            env={"MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET, "HOME": str(self.folder), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
        )  # fmt: skip
        for _ in range(300):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/minio/health/live")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.stop()
        sys.exit("MinIO does not come up")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def request(self, method, path, query=None, body=None, length=0):
        """One signed request; gives the status, headers and body of the answer."""
        host = f"127.0.0.1:{self.port}"
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        text = "&".join(f"{name}={urllib.parse.quote(value, safe='')}" for name, value in sorted((query or {}).items()))
        signed = "host;x-amz-content-sha256;x-amz-date"
        canonical = "\n".join([method, urllib.parse.quote(path), text, f"host:{host}",
                               "x-amz-content-sha256:UNSIGNED-PAYLOAD", f"x-amz-date:{now}", "", signed,
                               "UNSIGNED-PAYLOAD"])  # fmt: skip
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{SECRET}".encode()
        for part in (now[:8], REGION, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, digest])
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers = {
            "Host": host, "x-amz-date": now, "x-amz-content-sha256": "UNSIGNED-PAYLOAD", "Content-Length": str(length),
            "Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={signed}, Signature={signature}",
        }  # fmt: skip
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request(method, urllib.parse.quote(path) + (f"?{text}" if text else ""), body=body, headers=headers)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), found

    def must(self, *arguments, **options):
        status, headers, body = self.request(*arguments, **options)
        if status >= 300:
            sys.exit(f"MinIO answers {status} to {arguments[:2]}: {body[:500]!r}")
        return headers, body

    def upload(self, path, file):
        """A file of any size, in parts."""
        _, body = self.must("POST", path, {"uploads": ""})
        upload = re.search(rb"<UploadId>(.*?)</UploadId>", body)[1].decode()
        tags = []
        with open(file, "rb") as data:
            while block := data.read(PART):
                headers, _ = self.must("PUT", path, {"partNumber": str(len(tags) + 1), "uploadId": upload},
                                       body=block, length=len(block))  # fmt: skip
                tags.append(headers.get("ETag") or headers.get("Etag"))
        parts = "".join(f"<Part><PartNumber>{at + 1}</PartNumber><ETag>{tag}</ETag></Part>" for at, tag in enumerate(tags))
        done = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        self.must("POST", path, {"uploadId": upload}, body=done, length=len(done))
