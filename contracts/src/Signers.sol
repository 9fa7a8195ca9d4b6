// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {Settings} from "./Settings.sol";
import {IQuorum} from "./interfaces/IQuorum.sol";
import {Signature} from "./interfaces/Types.sol";

/// @title Signers: the quorum of a contract, and how the timelock changes it
abstract contract Signers is IQuorum, Settings {
    using EnumerableSet for EnumerableSet.AddressSet;

    uint256 private constant MOST_SIGNERS = 32;
    bytes32 internal constant THRESHOLD = "threshold";

    EnumerableSet.AddressSet private _signers;
    /// @inheritdoc IQuorum
    uint256 public threshold;
    /// @inheritdoc IQuorum
    mapping(address signer => uint48) public signerReadyAt;

    /// The first signers: for a constructor, once.
    function _beginSigners(address[] memory signers, uint256 threshold_) internal {
        for (uint256 i; i < signers.length; ++i) {
            _add(signers[i]);
        }
        threshold = threshold_;
        _checkMajority();
        emit SettingChanged(THRESHOLD, 0, threshold_);
    }

    /// @inheritdoc IQuorum
    function addSigner(address signer) external onlyTimelock {
        _checkNotAbdicated(SIGNERS, 0);
        if (signer == address(0) || _signers.contains(signer)) revert BadSigner(signer);

        uint48 readyAt = uint48(block.timestamp) + LOOSEN_DELAY;
        signerReadyAt[signer] = readyAt;

        emit SignerScheduled(signer, readyAt);
    }

    /// @inheritdoc IQuorum
    function enactSigner(address signer) external {
        uint48 readyAt = signerReadyAt[signer];
        _checkNotAbdicated(SIGNERS, 0);
        if (readyAt == 0 || block.timestamp < readyAt) revert SignerNotReady(signer, readyAt, block.timestamp);

        delete signerReadyAt[signer];
        _add(signer);
        _checkMajority();
    }

    /// @inheritdoc IQuorum
    function removeSigner(address signer) external onlyTimelock {
        _checkNotAbdicated(SIGNERS, 0);
        if (signerReadyAt[signer] != 0) {
            delete signerReadyAt[signer];
        } else {
            if (!_signers.remove(signer)) revert NotInQuorum(signer);
            _checkMajority();
        }

        emit SignerRemoved(signer);
    }

    function _isSigner(address account) internal view returns (bool) {
        return _signers.contains(account);
    }

    function _signerList() internal view returns (address[] memory) {
        return _signers.values();
    }

    /// Returns when the deadline has not passed and `threshold` or more signers signed `digest`. Every signature given must
    /// be good: one that is not counted would be a mistake nobody sees.
    function _checkQuorum(bytes32 digest, uint48 deadline, Signature[] calldata quorum) internal view {
        if (block.timestamp > deadline) revert DeadlinePassed(deadline, block.timestamp);
        if (quorum.length < threshold) revert QuorumTooSmall(quorum.length, threshold);

        address previous;
        for (uint256 i; i < quorum.length; ++i) {
            address signer = quorum[i].signer;
            if (signer <= previous) revert SignersNotAscending(previous, signer);
            if (!_signers.contains(signer)) revert NotInQuorum(signer);
            // The check is against the signer that the set knows, never against one that the signature names.
            if (!SignatureChecker.isValidSignatureNowCalldata(signer, digest, quorum[i].signature)) {
                revert BadSignature(signer);
            }
            previous = signer;
        }
    }

    function _rule(bytes32 name, bytes32 subject)
        internal
        view
        virtual
        override
        returns (uint256 min, uint256 max, uint256 step, bool lowerIsTighter)
    {
        if (name != THRESHOLD || subject != 0) revert UnknownSetting(name, subject);
        max = _signers.length();
        return (max / 2 + 1, max, 1, false);
    }

    function _read(bytes32, bytes32) internal view virtual override returns (uint256) {
        return threshold; // `_rule`, which is asked first, knows no other
    }

    function _write(bytes32, bytes32, uint256 value) internal virtual override {
        threshold = value;
    }

    function _hasSigners(bytes32 name, bytes32 subject) internal pure override returns (bool) {
        return name == SIGNERS && subject == 0;
    }

    function _add(address signer) private {
        if (signer == address(0) || !_signers.add(signer)) revert BadSigner(signer);
        if (_signers.length() > MOST_SIGNERS) revert TooManySigners(_signers.length(), MOST_SIGNERS);

        emit SignerAdded(signer);
    }

    function _checkMajority() private view {
        uint256 signers = _signers.length();
        if (threshold > signers || 2 * threshold <= signers) revert BadThreshold(threshold, signers);
    }
}
