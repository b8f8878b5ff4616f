package client

import (
	"errors"

	"github.com/zalando/go-keyring"
)

// keychainService is the name of this program's entries in a keychain.
const keychainService = "causeway"

// systemKeychain is the keychain of the operating system.
type systemKeychain struct{}

func (systemKeychain) Get(name string) (string, error) {
	secret, err := keyring.Get(keychainService, name)
	if errors.Is(err, keyring.ErrNotFound) {
		return "", ErrNotFound
	}
	return secret, err
}

func (systemKeychain) Set(name, secret string) error {
	return keyring.Set(keychainService, name, secret)
}
