// Signs a path, so that whoever has it may GET it from the gateway without a key.
//
//	export KEY_ID=9fK2mQx07TbA SIGNING_KEY=...      as `ringmain gateway key add` has shown them
//	go run sign.go PATH [SECONDS]                   writes the signed path
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// sign returns the path with its signature, good until exp (seconds since 1970).
func sign(path string, exp int64, keyID, signingKey string) string {
	mac := hmac.New(sha256.New, []byte(signingKey))
	fmt.Fprintf(mac, "GET\n%s\n%s\n%d", path, keyID, exp)
	sig := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	joint := "?"
	if strings.Contains(path, "?") {
		joint = "&"
	}
	return fmt.Sprintf("%s%skid=%s&exp=%d&sig=%s", path, joint, keyID, exp, sig)
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("sign must be given a path: go run sign.go PATH [SECONDS]")
	}
	seconds := int64(3600)
	if len(os.Args) > 2 {
		given, err := strconv.ParseInt(os.Args[2], 10, 64)
		if err != nil {
			log.Fatalf("SECONDS must be a whole number: found=%s", os.Args[2])
		}
		seconds = given
	}
	fmt.Println(sign(os.Args[1], time.Now().Unix()+seconds, os.Getenv("KEY_ID"), os.Getenv("SIGNING_KEY")))
}
