// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Test} from "forge-std/Test.sol";

import {IAccess} from "../src/interfaces/IAccess.sol";
import {ILedger} from "../src/interfaces/ILedger.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IMeter} from "../src/interfaces/IMeter.sol";
import {Signature, System} from "../src/interfaces/Types.sol";

/// Who signs, and what. The EIP-712 digests are computed here a second time: what the contracts accept is what this file
/// signs.
abstract contract Statements is Test {
    uint256 internal constant P256_N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
    uint256 internal constant SECP256K1_N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    uint256 internal constant THRESHOLD = 2;
    uint256 internal constant METER_KEY = 0x11;
    uint256 internal constant SESSION_KEY = 0x22;

    /// Where the contracts are, and the chain that statements are for.
    System internal system;

    uint256[] internal attesterKeys; // in ascending order of their addresses, as every quorum lists them
    uint256[] internal appraiserKeys;
    mapping(address account => uint256) internal keyOf;
    // A scalar multiplication takes longer than most calls of these contracts: every key is multiplied once.
    mapping(uint256 key => address) private _addressOf;
    mapping(uint256 key => bytes32[2]) private _pointOf;

    /* KEYS */

    function addressesOf(uint256[] memory keys) internal view returns (address[] memory list) {
        list = new address[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            list[i] = addressOf(keys[i]);
        }
    }

    function addressOf(uint256 key) internal view returns (address account) {
        account = _addressOf[key];
        if (account == address(0)) account = vm.addr(key);
    }

    function _actor(string memory role) internal returns (address account) {
        (address a, uint256 key) = makeAddrAndKey(role);
        keyOf[a] = key;
        _addressOf[key] = a;
        return a;
    }

    function _keys(string memory role, uint256 count) internal returns (uint256[] memory keys) {
        keys = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            (address account, uint256 key) = makeAddrAndKey(string.concat(role, vm.toString(i)));
            keyOf[account] = key;
            _addressOf[key] = account;
            uint256 place = i;
            for (; place > 0 && _addressOf[keys[place - 1]] > account; --place) {
                keys[place] = keys[place - 1];
            }
            keys[place] = key;
        }
    }

    function publicKey(uint256 key) internal returns (bytes32 x, bytes32 y) {
        bytes32[2] storage point = _pointOf[key];
        if (point[0] == 0) {
            (uint256 ux, uint256 uy) = vm.publicKeyP256(key);
            (point[0], point[1]) = (bytes32(ux), bytes32(uy));
        }
        return (point[0], point[1]);
    }

    function _first(uint256[] memory keys, uint256 count) internal pure returns (uint256[] memory few) {
        few = new uint256[](count);
        for (uint256 i; i < count; ++i) {
            few[i] = keys[i];
        }
    }

    /* DIGESTS */

    function domainOf(string memory name, uint256 chainId, address verifier) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                chainId,
                verifier
            )
        );
    }

    function typed(bytes32 domain, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function membersDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Members", block.chainid, system.members);
    }

    function ledgerDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Ledger", block.chainid, system.ledger);
    }

    function accessDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Access", block.chainid, system.access);
    }

    function meterDomain() internal view returns (bytes32) {
        return domainOf("Commonhold Meter", block.chainid, system.meter);
    }

    function hashOf(IMembers.Admission memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256("Admission(address member,bytes32 nullifier,uint48 until,uint48 deadline)");
        return keccak256(abi.encode(t, a.member, a.nullifier, a.until, a.deadline));
    }

    function hashOf(IMembers.Renewal memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256("Renewal(address member,uint48 until,uint48 deadline)");
        return keccak256(abi.encode(t, r.member, r.until, r.deadline));
    }

    function hashOf(IMembers.Attachment memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256("Attachment(address member,address controller,uint256 nonce,uint48 deadline)");
        return keccak256(abi.encode(t, a.member, a.controller, a.nonce, a.deadline));
    }

    function hashOf(IMembers.Finding memory f) internal pure returns (bytes32) {
        bytes32 t = keccak256("Finding(address member,address controller,bytes32 evidence,uint48 deadline)");
        return keccak256(abi.encode(t, f.member, f.controller, f.evidence, f.deadline));
    }

    function hashOf(IMembers.Detachment memory d) internal pure returns (bytes32) {
        bytes32 t = keccak256("Detachment(address member,bytes32 evidence,uint256 nonce,uint48 deadline)");
        return keccak256(abi.encode(t, d.member, d.evidence, d.nonce, d.deadline));
    }

    function hashOf(IMembers.Recovery memory r) internal pure returns (bytes32) {
        bytes32 t =
            keccak256("Recovery(address member,address successor,bytes32 evidence,uint256 nonce,uint48 deadline)");
        return keccak256(abi.encode(t, r.member, r.successor, r.evidence, r.nonce, r.deadline));
    }

    function hashOf(ILedger.Appraisal memory a) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Appraisal(bytes32 classId,address registrant,bytes32 contentHash,bytes32 resultHash,string policy,uint64 units,uint8 level,bytes32[] devices,bytes32 meterKeyX,bytes32 meterKeyY,uint48 expiresAt,uint48 deadline)"
        );
        bytes32[] memory words = new bytes32[](13);
        words[0] = t;
        words[1] = a.classId;
        words[2] = bytes32(uint256(uint160(a.registrant)));
        words[3] = a.contentHash;
        words[4] = a.resultHash;
        words[5] = keccak256(bytes(a.policy));
        words[6] = bytes32(uint256(a.units));
        words[7] = bytes32(uint256(a.level));
        words[8] = keccak256(abi.encodePacked(a.devices));
        words[9] = a.meterKeyX;
        words[10] = a.meterKeyY;
        words[11] = bytes32(uint256(a.expiresAt));
        words[12] = bytes32(uint256(a.deadline));
        return keccak256(abi.encodePacked(words));
    }

    function hashOf(IAccess.Redemption memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Redemption(address holder,uint256 id,uint64 amount,bytes32 keyX,bytes32 keyY,uint256 nonce,uint48 deadline)"
        );
        return keccak256(abi.encode(t, r.holder, r.id, r.amount, r.keyX, r.keyY, r.nonce, r.deadline));
    }

    function hashOf(IAccess.Split memory s) internal pure returns (bytes32) {
        bytes32 t =
            keccak256("Split(bytes32 lease,uint64 amount,bytes32 keyX,bytes32 keyY,uint16 change,uint48 deadline)");
        return keccak256(abi.encode(t, s.lease, s.amount, s.keyX, s.keyY, s.change, s.deadline));
    }

    function hashOf(IAccess.TopUp memory t) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256("TopUp(bytes32 lease,uint64 amount,uint16 change,uint48 deadline)");
        return keccak256(abi.encode(typeHash, t.lease, t.amount, t.change, t.deadline));
    }

    function hashOf(IAccess.Rotation memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256("Rotation(bytes32 lease,bytes32 keyX,bytes32 keyY,uint16 change,uint48 deadline)");
        return keccak256(abi.encode(t, r.lease, r.keyX, r.keyY, r.change, r.deadline));
    }

    function hashOf(IMeter.Receipt memory r) internal pure returns (bytes32) {
        bytes32 t = keccak256("Receipt(bytes32 lease,uint64 gpuMs,bytes32 head)");
        return keccak256(abi.encode(t, r.lease, r.gpuMs, r.head));
    }

    /* SIGNATURES */

    function sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function sign(uint256[] memory keys, bytes32 digest) internal view returns (Signature[] memory quorum) {
        quorum = new Signature[](keys.length);
        for (uint256 i; i < keys.length; ++i) {
            quorum[i] = Signature(addressOf(keys[i]), sign(keys[i], digest));
        }
    }

    /// The first `THRESHOLD` of the attesters.
    function attested(bytes32 structHash) internal view virtual returns (Signature[] memory) {
        return sign(_first(attesterKeys, THRESHOLD), typed(membersDomain(), structHash));
    }

    function appraised(ILedger.Appraisal memory a) internal view virtual returns (Signature[] memory) {
        return sign(_first(appraiserKeys, THRESHOLD), typed(ledgerDomain(), hashOf(a)));
    }

    /// Low s, as every verifier here demands.
    function signP256(uint256 key, bytes32 digest) internal pure returns (bytes32 r, bytes32 s) {
        (r, s) = vm.signP256(key, digest);
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
    }
}
